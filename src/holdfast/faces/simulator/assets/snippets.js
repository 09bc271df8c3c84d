// A request as a line for a shell and as programs, each complete and ready to run.

import { quoted } from "./copying.js";

/** @typedef {import("./request.js").Asked} Asked */

const PATIENCE_S = 90;

// A string of JSON is one of Python, JavaScript and Go as well, once it holds no half of a surrogate pair.
const literal = (text) => JSON.stringify(text.toWellFormed());

/** @param {Asked} asked */
function curl({ method, url, fields, content }) {
  const words = ["curl", method === "HEAD" ? "-I" : "-i"];
  if (!["GET", "HEAD"].includes(method)) words.push("-X", method);
  for (const [name, value] of fields) words.push("-H", quoted(value ? `${name}: ${value}` : `${name};`));
  if (content) words.push("--data-raw", quoted(content));
  return [...words, quoted(url)].join(" ");
}

/** Arguments that the Python libraries share, one in a line. */
function pythonArguments({ method, url, fields, content, waits }, contentName, patience) {
  const lines = [`    ${literal(method)},`, `    ${literal(url)},`];
  if (fields.length) lines.push(`    headers={${fields.map(([name, value]) => `${literal(name)}: ${literal(value)}`).join(", ")}},`);
  if (content) lines.push(`    ${contentName}=${literal(content)}.encode(),`);
  if (waits && patience) lines.push(`    timeout=${PATIENCE_S},`);
  return lines.join("\n");
}

/** @param {Asked} asked */
const httpx = (asked) => `import httpx

answer = httpx.request(
${pythonArguments(asked, "content", true)}
)
print(answer.status_code, answer.headers.get("retry-after"))
print(answer.text)`;

/** @param {Asked} asked */
const requests = (asked) => `import requests

answer = requests.request(
${pythonArguments(asked, "data", false)}
    allow_redirects=False,
    timeout=${PATIENCE_S},
)
print(answer.status_code, answer.headers.get("Retry-After"))
print(answer.text)`;

/** @param {Asked} asked */
function fetching({ method, url, fields, content }) {
  const options = [`  method: ${literal(method)},`];
  if (fields.length) options.push(`  headers: { ${fields.map(([name, value]) => `${literal(name)}: ${literal(value)}`).join(", ")} },`);
  if (content) options.push(`  body: ${literal(content)},`);
  options.push('  redirect: "manual",');
  return `const answer = await fetch(${literal(url)}, {
${options.join("\n")}
});
console.log(answer.status, answer.headers.get("Retry-After"));
console.log(await answer.text());`;
}

/** @param {Asked} asked */
function go({ method, url, fields, content }) {
  const body = content ? `strings.NewReader(${literal(content)})` : "nil";
  const sets = fields.map(([name, value]) => `\trequest.Header.Set(${literal(name)}, ${literal(value)})\n`).join("");
  return `package main

import (
\t"fmt"
\t"io"
\t"net/http"
${content ? '\t"strings"\n' : ""})

func main() {
\trequest, err := http.NewRequest(${literal(method)}, ${literal(url)}, ${body})
\tif err != nil {
\t\tpanic(err)
\t}
${sets}\tanswer, err := http.DefaultTransport.RoundTrip(request)
\tif err != nil {
\t\tpanic(err)
\t}
\tdefer answer.Body.Close()
\tcontent, err := io.ReadAll(answer.Body)
\tif err != nil {
\t\tpanic(err)
\t}
\tfmt.Println(answer.StatusCode, answer.Header.Get("Retry-After"))
\tfmt.Println(string(content))
}`;
}

/** Each language's name, and what makes its text. @type {Map<string, (asked: Asked) => string>} */
export const SNIPPETS = new Map([["curl", curl], ["httpx", httpx], ["requests", requests], ["fetch", fetching], ["Go", go]]);
