// The playground: a form, the request that it makes, and the answer to it.

import { showAnswer, showFailure } from "./answer.js";
import { copyable } from "./copying.js";
import { byId, el, fill, say } from "./dom.js";
import { wireTheme } from "./page.js";
import { queryOf, requestOf, wireText } from "./request.js";
import { SNIPPETS } from "./snippets.js";

const MOST_REMEMBERED = 12;
const CODE = /^[1-5][0-9]{2}$/;
const form = /** @type {HTMLFormElement} */ (byId("form"));
const button = /** @type {HTMLButtonElement} */ (byId("send"));
let language = "curl";

/** The phrases of the registered codes, by number. */
const phrases = new Map([...document.querySelectorAll("#codes-known option")].map((option) => [option.value, option.textContent]));

/** @param {number | string} code */
const phraseOf = (code) => phrases.get(String(code)) ?? "";

/** Put what the address asks for into the form. */
function readAddress() {
  const asked = new URLSearchParams(location.search);
  for (const control of form.elements) {
    if (!control.name || !asked.has(control.name)) continue;
    const value = asked.getAll(control.name).join("\n");
    if (control.name === "method" && ![...control.options].some((option) => option.value === value)) continue;
    control.value = value;
    if (control.closest("details") && value) control.closest("details").open = true;
  }
}

/** Keep the form in the address, so that it can be sent to somebody, and outlives a reload. */
function writeAddress() {
  const pairs = [];
  for (const control of form.elements) {
    const isPlain = control.name === "method" && control.value === "GET";
    if (!control.name || !control.value.trim() || isPlain) continue;
    const values = "lines" in control.dataset ? control.value.split("\n").filter((line) => line.trim()) : [control.value];
    for (const value of values) pairs.push([control.name, value]);
  }
  history.replaceState(null, "", `${location.pathname}?${queryOf(pairs)}`);
}

function showRequest() {
  const code = form.elements.namedItem("code").value;
  const isCode = CODE.test(code);
  const link = /** @type {HTMLAnchorElement} */ (byId("code-link"));
  link.hidden = !isCode;
  if (!isCode) return;
  link.href = `/simulator/${code}`;
  say(link, `${code} ${phraseOf(code) || "Unassigned"}: what it means`);
  const asked = requestOf(form, location.origin);
  fill(byId("request"), copyable(wireText(asked), "request"));
  fill(byId("snippet"), copyable(SNIPPETS.get(language)(asked), language === "curl" ? "command" : "program"));
}

function wireTabs() {
  const buttons = [...SNIPPETS.keys()].map((name) => el("button", { type: "button", "aria-pressed": String(name === language), onclick: () => choose(name) }, name));
  const choose = (name) => {
    language = name;
    for (const each of buttons) each.setAttribute("aria-pressed", String(each.textContent === name));
    showRequest();
  };
  fill(byId("tabs"), ...buttons);
}

/** @param {number} status 0: none came */
function remember(status) {
  const list = byId("history");
  list.append(el("li", { class: `class-${status ? Math.floor(status / 100) : 5}` }, status ? String(status) : "no answer"));
  while (list.children.length > MOST_REMEMBERED) list.firstElementChild.remove();
}

const CURL_SHOWS = "The line for curl shows all of it.";

/**
 * What is to be said of an answer that cannot be seen whole, or is none of the simulator's.
 * @param {Response} response
 * @param {string} code what was asked for
 */
function remarkOn(response, code) {
  if (response.type === "opaqueredirect") return `A browser shows scripts nothing of a redirect but that there was one. ${CURL_SHOWS}`;
  const simulated = response.headers.get("X-Simulated");
  if (simulated !== null) {
    return simulated.startsWith("1") ? `A browser passes over interim answers: this is the final one, behind the ${simulated.slice(0, 3)}. ${CURL_SHOWS}` : "";
  }
  if (code === "101" && response.status === 400) return `A script cannot ask a server to switch protocols. ${CURL_SHOWS}`;
  if (response.status !== 401) return "Nothing is simulated here: the server itself refuses the request, and the body says why.";
  const login = `/login?${new URLSearchParams({ next: location.pathname + location.search })}`;
  return el("span", {}, "The simulator answers those who are known to this server. ", el("a", { href: login }, "Log in"));
}

/**
 * Why there may be no answer.
 * @param {string} code what was asked for
 * @param {Error} error
 */
function whyNone(code, error) {
  if (code === "407") return `Browsers take a 407 from their proxy alone, and show nothing of this one. ${CURL_SHOWS}`;
  return `No whole answer came: the browser says “${error.message}”. Where that was not what you asked for, see whether the server runs.`;
}

async function send() {
  if (!form.reportValidity()) return;
  const asked = requestOf(form, location.origin);
  const code = form.elements.namedItem("code").value;
  const place = byId("answer");
  button.disabled = true;
  place.setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    const response = await fetch(asked.url, {
      method: asked.method, headers: asked.fields, body: asked.content || undefined, redirect: "manual", cache: "no-store",
    });
    const text = await response.text();
    const isHidden = response.type === "opaqueredirect";
    const status = isHidden ? Number(code) : response.status;
    showAnswer(place, {
      status, phrase: phraseOf(status), tookMs: performance.now() - began, fields: [...response.headers], text,
      retryAfter: response.headers.get("Retry-After"), remark: remarkOn(response, code),
    });
    remember(status);
  } catch (error) {
    showFailure(place, whyNone(code, error));
    remember(0);
  } finally {
    button.disabled = false;
    place.setAttribute("aria-busy", "false");
  }
}

wireTheme();
wireTabs();
readAddress();
showRequest();
form.addEventListener("input", () => {
  showRequest();
  writeAddress();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  writeAddress();
  send();
});
form.addEventListener("reset", () => {
  history.replaceState(null, "", location.pathname);
  // The fields are emptied after this event.
  setTimeout(showRequest);
});
