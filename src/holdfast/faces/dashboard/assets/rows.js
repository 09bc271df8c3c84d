// One row of the list of locks. A row is made once and then kept up, so that focus and selection in it stay.

import { el, fill, foreign, say } from "./dom.js";
import { isClosure } from "./maintenance.js";
import { nameAndCollection } from "./paths.js";
import { ago, clock, countdown, inFull, uptime } from "./time.js";
import { FACES, claims, holderName } from "./words.js";

const SOON_S = 60;

/**
 * @typedef {import("./holdings.js").KnownLock} KnownLock
 * @typedef {{element: HTMLElement, update: (lock: KnownLock) => void, tick: () => void}} Row
 */

/**
 * A row for a lock; `onBreak` is called with the lock as it is then.
 * @param {KnownLock} first
 * @param {import("./session.js").Session} session
 * @param {(lock: KnownLock) => void} onBreak
 * @returns {Row}
 */
export function lockRow(first, session, onBreak) {
  let lock = first;
  let shown = "";
  const cell = (/** @type {string} */ name) => el("td", { role: "cell", class: name });
  const [what, who, since, until, line, act] = ["what", "who", "since", "until", "line", "act"].map(cell);
  const left = el("span", { class: "left" });
  const element = el("tr", { role: "row", class: first.isFresh ? "fresh" : null, dataset: { lock: first.id } }, what, who, since, until, line, act);

  const tick = () => {
    say(since.firstElementChild ?? since, ago(lock.since));
    if (lock.endsAt === null) return;
    const seconds = lock.endsAt - uptime();
    left.classList.toggle("soon", seconds < SOON_S);
    say(left, seconds <= 0 ? "ending…" : countdown(seconds));
  };

  const update = (/** @type {KnownLock} */ next) => {
    lock = next;
    const looks = JSON.stringify([lock.holder, lock.reason, lock.expires_at, lock.queue_length, lock.breaking]);
    if (looks !== shown) {
      shown = looks;
      fill(what, ...resource(lock, session));
      fill(who, ...holder(lock));
      fill(since, el("span", { title: inFull(lock.since) }), el("small", {}, clock(lock.since)));
      if (lock.expires_at === null) fill(until, el("span", { class: "quiet" }, "no end"));
      else fill(until, left, el("small", { title: inFull(lock.expires_at) }, lock.breaking ? "broken at " : "until ", clock(lock.expires_at)));
      line.classList.toggle("some", lock.queue_length > 0);
      say(line, lock.queue_length ? String(lock.queue_length) : "–");
      if (session.mayBreak(lock) && !act.firstChild) act.append(breakButton(() => onBreak(lock), lock, session));
    }
    tick();
  };
  update(first);
  return { element, update, tick };
}

/**
 * @param {() => void} onclick
 * @param {KnownLock} lock
 * @param {import("./session.js").Session} session
 */
function breakButton(onclick, lock, session) {
  const words = isClosure(lock) ? "Open again" : session.owns(lock) && !session.isOpen ? "End…" : "Break…";
  return el("button", { class: "small", type: "button", "aria-label": `${words} ${nameAndCollection(lock.root).name}`, onclick }, words);
}

/**
 * @param {KnownLock} lock
 * @param {import("./session.js").Session} session
 */
function resource(lock, session) {
  const { name, collection } = nameAndCollection(lock.root);
  const link = el("a", { href: `/locks/${encodeURIComponent(lock.id)}` }, el("bdi", {}, el("span", { class: "in" }, collection), name));
  const chips = [
    isClosure(lock) ? el("span", { class: "chip warn" }, "maintenance") : null,
    lock.scope === "shared" ? el("span", { class: "chip" }, "shared") : null,
    lock.depth === "infinity" ? el("span", { class: "chip" }, "with all in it") : null,
    session.owns(lock) && !session.isOpen ? el("span", { class: "chip mine" }, "yours") : null,
    lock.breaking ? el("span", { class: "chip bad" }, "being broken") : null,
  ].filter((chip) => chip !== null);
  return [link, chips.length ? el("span", { class: "chips" }, ...chips) : null, lock.reason ? el("small", { class: "why" }, foreign(lock.reason)) : null];
}

/** @param {KnownLock} lock */
function holder(lock) {
  const said = [...claims(lock.holder).map(foreign), FACES[/** @type {keyof typeof FACES} */ (lock.face)] ?? lock.face];
  const joined = said.flatMap((part, index) => (index ? [" · ", part] : [part]));
  return [el("b", {}, foreign(holderName(lock.holder))), el("small", {}, ...joined)];
}
