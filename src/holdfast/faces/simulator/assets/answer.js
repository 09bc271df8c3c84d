// The answer as the page shows it: status, fields, body, and how long Retry-After still asks to wait.

import { el, fill } from "./dom.js";

const MOST_SHOWN = 65536;
const TICK_MS = 250;
// What is said to browsers about scripts of other sites: last, for it says nothing of the status.
const ABOUT_BROWSERS = /^(access-control-|content-security-policy$|cross-origin-|timing-allow-origin$)/;

/**
 * @typedef {{status: number, phrase: string, tookMs: number, fields: [string, string][], text: string, retryAfter: string | null, remark: string | Node}} Answer
 */

let ticking = 0;

/**
 * @param {Element} place
 * @param {Answer} answer
 */
export function showAnswer(place, answer) {
  clearInterval(ticking);
  const shown = readable(answer);
  fill(place,
    el("p", { class: `status-line class-${Math.floor(answer.status / 100)}` },
      el("span", { class: "code" }, String(answer.status)), answer.phrase,
      el("small", {}, `${Math.round(answer.tookMs)} ms`)),
    answer.remark ? el("p", { class: "waiting" }, answer.remark) : null,
    countdown(answer),
    answer.fields.length ? el("h3", {}, "Fields") : null,
    answer.fields.length ? el("pre", { tabindex: "0" }, el("code", {}, fieldLines(answer.fields))) : null,
    shown ? el("h3", {}, "Body") : null,
    shown ? el("pre", { tabindex: "0" }, el("code", {}, shown)) : null);
}

/** @param {[string, string][]} fields */
function fieldLines(fields) {
  const isLast = ([name]) => ABOUT_BROWSERS.test(name);
  const ordered = [...fields.filter((field) => !isLast(field)), ...fields.filter(isLast)];
  return ordered.map(([name, value]) => `${name}: ${value}`).join("\n");
}

/**
 * Where no answer came: what the browser says of it.
 * @param {Element} place
 * @param {string} why
 */
export function showFailure(place, why) {
  clearInterval(ticking);
  fill(place, el("p", { class: "problem" }, why));
}

/** @param {Answer} answer */
function readable({ text, fields }) {
  const type = fields.find(([name]) => name === "content-type")?.[1] ?? "";
  let shown = text.slice(0, MOST_SHOWN);
  if (/[/+]json/.test(type)) {
    try {
      shown = JSON.stringify(JSON.parse(text), null, 2).slice(0, MOST_SHOWN);
    } catch {
      // Shown as it came.
    }
  }
  return text.length > MOST_SHOWN ? `${shown}…` : shown;
}

/** @param {Answer} answer */
function countdown({ retryAfter }) {
  if (retryAfter === null) return null;
  const seconds = /^[0-9]+$/.test(retryAfter) ? Number(retryAfter) : (Date.parse(retryAfter) - Date.now()) / 1000;
  if (!Number.isFinite(seconds)) return null;
  const end = performance.now() + seconds * 1000;
  const line = el("p", { class: "waiting", "aria-live": "off" });
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    line.textContent = left > 0 ? `Retry-After: worth trying again in ${left} s` : "Retry-After is over: try again now.";
    if (left <= 0) clearInterval(ticking);
  };
  ticking = setInterval(tick, TICK_MS);
  tick();
  return line;
}
