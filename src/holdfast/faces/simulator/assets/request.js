// The form as a request: an address with its options, a method, fields and a body. Knows nothing of the page.

/** @typedef {{method: string, url: string, path: string, fields: [string, string][], content: string, waits: boolean}} Asked */

const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)$/;
const READABLE = /%(2C|3A|2F|40|7E)/g;

/**
 * What the form holds, as options by name; empty ones are left out.
 * @param {HTMLFormElement} form
 * @returns {[string, string][]}
 */
export function optionsOf(form) {
  const options = [];
  for (const control of form.querySelectorAll("[data-option]")) {
    const texts = "lines" in control.dataset ? control.value.split("\n") : [control.value];
    for (const text of texts) if (text.trim()) options.push([control.name, text.trim()]);
  }
  return options;
}

/**
 * A query that can be read: what a query may hold is left as it is.
 * @param {[string, string][]} pairs
 */
export function queryOf(pairs) {
  return new URLSearchParams(pairs).toString().replaceAll("+", "%20").replace(READABLE, (escaped) => decodeURIComponent(escaped));
}

/**
 * @param {HTMLFormElement} form
 * @param {string} origin
 * @returns {Asked}
 */
export function requestOf(form, origin) {
  const data = new FormData(form);
  const options = optionsOf(form);
  const query = queryOf(options);
  const path = `/api/status/${data.get("code")}${query ? `?${query}` : ""}`;
  const method = String(data.get("method"));
  const fields = [];
  for (const line of String(data.get("fields")).split("\n")) {
    const found = FIELD.exec(line.trim());
    if (found) fields.push([found[1], found[2].trim()]);
  }
  // A 101 is the answer to whoever names a protocol; browsers leave these fields out.
  if (data.get("code") === "101" && !fields.some(([name]) => name.toLowerCase() === "upgrade")) fields.push(["Connection", "upgrade"], ["Upgrade", "simulated"]);
  const content = method === "GET" || method === "HEAD" ? "" : String(data.get("content")).replaceAll("\r\n", "\n").toWellFormed();
  if (content && !fields.some(([name]) => name.toLowerCase() === "content-type")) fields.push(["Content-Type", "text/plain"]);
  const waits = options.some(([name]) => ["delay", "body_delay", "dribble"].includes(name));
  return { method, url: origin + path, path, fields, content, waits };
}

/**
 * The request as it goes over the wire in HTTP/1.1, but for what every client adds.
 * @param {Asked} asked
 */
export function wireText(asked) {
  const fields = [["Host", new URL(asked.url).host], ...asked.fields];
  const head = [`${asked.method} ${asked.path} HTTP/1.1`, ...fields.map(([name, value]) => `${name}: ${value}`)].join("\n");
  return asked.content ? `${head}\n\n${asked.content}` : head;
}
