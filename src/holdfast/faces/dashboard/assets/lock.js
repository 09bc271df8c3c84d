// The page of one lock: what is locked, who has it, until when and why, who waits, and what to do next; or how it ended.

import { ApiError, ask, query } from "./api.js";
import { askToBreak } from "./breaking.js";
import { byId, el, fill, foreign, padlock, say } from "./dom.js";
import { followFeed } from "./feed.js";
import { isClosure, openAgain } from "./maintenance.js";
import { nextSteps } from "./next_steps.js";
import { dressHead, showProblem, showState, wireTheme } from "./page.js";
import { isAtOrBelow, nameAndCollection, pathText } from "./paths.js";
import { openSession } from "./session.js";
import { askToTakeOver } from "./taking_over.js";
import { ago, clock, countdown, inFull, span, uptime } from "./time.js";
import { stillWaiting } from "./waiting.js";
import { FACES, KINDS, claims, eventReason, eventSentence, holderName, lockedText, pastHolder, principal } from "./words.js";

const READ_AGAIN_MS = 15_000;
const GATHER_MS = 120;
const NEAR_END_S = 2;
const PAGE = 500;
const MOST_PAGES = 5; // of the record, that are looked through for what happened to the lock

wireTheme();
const id = decodeURIComponent(location.pathname.replace("/locks/", ""));
const place = byId("lock");
const countdownSign = el("span", { class: "left" });

/** @type {import("./session.js").Session} */
let session;
/** @type {number | null} */
let endsAt = null;
let root = "";
let shown = "";
let gathering = 0;
/** What happened to this lock, the oldest first; null: it has to be read. @type {import("./api.js").LockEvent[] | null} */
let record = null;
let recordTold = 0; // how often the feed has told that there is more

/** The feed has told of more, or may have missed it. */
function forgetRecord() {
  record = null;
  recordTold += 1;
}

let isReading = false;
let isOutdated = false;

/** Ask for the lock and show it; never twice at once, since an answer that comes late would be shown over a newer one. */
async function read() {
  clearTimeout(gathering);
  gathering = 0;
  isOutdated = isReading;
  if (isReading) return;
  isReading = true;
  try {
    await (await ask("GET", `/api/locks/${encodeURIComponent(id)}`).then((lock) => () => showHeld(lock), explain))();
    showProblem("");
  } catch (error) {
    showProblem(error instanceof Error ? error.message : String(error));
  }
  place.setAttribute("aria-busy", "false");
  isReading = false;
  if (isOutdated) readSoon();
}

/**
 * What to show in place of a lock that is not held.
 * @param {unknown} error
 */
function explain(error) {
  if (error instanceof ApiError && error.status === 410 && error.problem.ended) {
    const ended = error.problem.ended;
    return () => showEnded(ended);
  }
  if (error instanceof ApiError && error.status === 404) return showUnknown;
  throw error;
}

/**
 * Show nodes, where they say something else than before; the focus stays on the button of the same name.
 * @param {unknown} key
 * @param {() => (Node | null)[]} nodes
 */
function show(key, nodes) {
  const text = JSON.stringify(key);
  if (text === shown) return;
  shown = text;
  const focused = document.activeElement?.id;
  fill(place, ...nodes());
  if (focused && place.querySelector(`#${CSS.escape(focused)}`)) byId(focused).focus();
}

/** @param {string} lockRoot */
function heading(lockRoot) {
  const { name, collection } = nameAndCollection(lockRoot);
  document.title = `${name} · Holdfast`;
  return [el("h1", {}, foreign(lockRoot === "/" ? "Everything" : name)), collection ? el("p", { class: "quiet where" }, foreign(pathText(lockRoot))) : null];
}

/**
 * @param {string} name
 * @param {...(Node | string | null)} value
 */
const fact = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value)];

/** @param {import("./api.js").Lock} lock */
async function showHeld(lock) {
  root = lock.root;
  endsAt = lock.expires_in === null ? null : uptime() + lock.expires_in;
  const [events, line] = await Promise.all([readRecord(), lock.queue_length ? waitersFor(lock) : []]);
  const { expires_in: _, ...key } = lock;
  show([key, events, line], () => [
    el("article", { class: "card padded" },
      el("p", { class: "signs" }, el("span", { class: "chip warn" }, isClosure(lock) ? "Closed for maintenance" : lock.scope === "shared" ? "Locked, shared" : "Locked"),
        session.owns(lock) && !session.isOpen ? el("span", { class: "chip mine" }, "yours") : null,
        lock.breaking ? el("span", { class: "chip bad" }, "being broken") : null),
      ...heading(lock.root),
      el("dl", { class: "facts" }, ...factsOf(lock), ...(lock.queue_length ? waitersFact(lock, line) : [])),
      actions(lock)),
    nextSteps(lock, session),
    timeline(events),
  ]);
  tick();
}

/** @param {import("./api.js").Lock} lock */
function factsOf(lock) {
  const said = claims(lock.holder);
  const breaking = lock.breaking;
  return [
    ...fact("Held by", el("b", {}, foreign(holderName(lock.holder))), ...said.map((text) => el("span", { class: "quiet" }, " · ", foreign(text)))),
    ...fact("What", foreign(lockedText(lock))),
    ...(lock.reason ? fact("Why", foreign(lock.reason)) : []),
    ...fact("Since", el("time", { datetime: lock.since, title: inFull(lock.since) }, clock(lock.since)), el("span", { class: "quiet" }, ` · ${ago(lock.since)}`)),
    ...(lock.expires_at === null
      ? fact("Until", "it is released; it has no end of its own")
      : fact("Until", el("time", { datetime: lock.expires_at, title: inFull(lock.expires_at) }, clock(lock.expires_at)), breaking || lock.face === "command" ? "" : ", unless renewed", " · ", countdownSign)),
    ...(breaking ? fact("Breaking", "by ", el("b", {}, foreign(principal(breaking.by))), ` at ${clock(breaking.at)}: `, foreign(breaking.reason)) : []),
    ...fact("Taken by", FACES[/** @type {keyof typeof FACES} */ (lock.face)] ?? lock.face, el("span", { class: "quiet" }, ` · ${lock.scope}, ${lock.depth === "infinity" ? "covers everything below" : "this resource alone"}`)),
  ];
}

/**
 * @param {import("./api.js").Lock} lock
 * @param {import("./api.js").LockEvent[]} line
 */
function waitersFact(lock, line) {
  const names = line.map((event) => el("li", {}, foreign(pastHolder(event)), el("span", { class: "quiet" }, ` since ${clock(event.at)}`)));
  return fact("Waiting", `${lock.queue_length} in line`, names.length ? el("ol", {}, ...names) : null);
}

/** @param {import("./api.js").Lock} lock */
function actions(lock) {
  if (!session.mayBreak(lock)) return null;
  const isOwn = session.owns(lock);
  const breakIt = isClosure(lock)
    ? el("button", { id: "break", type: "button", onclick: () => openAgain(lock, () => void read()) }, "Open again")
    : el("button", { id: "break", type: "button", class: "grave", onclick: () => askToBreak(lock, session, () => void read()) }, isOwn && !session.isOpen ? "End my lock…" : "Break the lock…");
  const takeOver = el("button", { id: "take-over", type: "button", onclick: () => askToTakeOver(lock, (next) => location.assign(`/locks/${encodeURIComponent(next)}`)) }, "Take over…");
  return el("div", { class: "actions" }, isOwn && !isClosure(lock) ? takeOver : null, breakIt);
}

/** @param {import("./api.js").Ended} ended */
async function showEnded(ended) {
  root = ended.root;
  endsAt = null;
  const [events, now] = await Promise.all([readRecord(), ask("GET", `/api/locks${query({ covering: ended.root, limit: 20 })}`)]);
  const [word, colour] = KINDS[/** @type {keyof typeof KINDS} */ (ended.how)] ?? [ended.how, ""];
  const granted = events.find((event) => event.kind === "granted");
  const held = granted && ended.at > granted.at ? ` · held for ${span((Date.parse(ended.at) - Date.parse(granted.at)) / 1000)}` : "";
  /** @type {import("./api.js").Lock[]} */
  const locks = now.locks;
  const free = el("p", {}, "Nothing protects it any more: it can be changed, or locked again.");
  const taken = el("ul", {}, ...locks.map((lock) => el("li", {}, el("a", { href: `/locks/${encodeURIComponent(lock.id)}` }, foreign(holderName(lock.holder)), " has ", foreign(lockedText(lock)), " locked"))));
  show([ended, events, locks.map((lock) => lock.id)], () => [
    el("article", { class: "card padded" },
      el("p", { class: "signs" }, el("span", { class: `chip ${colour}` }, `Ended: ${word.toLocaleLowerCase()}`)),
      ...heading(ended.root),
      el("dl", { class: "facts" },
        ...fact("Was held by", el("b", {}, foreign(pastHolder(ended))), el("span", { class: "quiet" }, held)),
        ...fact("Ended", el("time", { datetime: ended.at, title: inFull(ended.at) }, clock(ended.at)), el("span", { class: "quiet" }, ` · ${ago(ended.at)}`)),
        ...(ended.by ? fact("By", foreign(principal(ended.by))) : []),
        ...(ended.reason ? fact("Why", foreign(ended.reason)) : []))),
    el("section", { class: "card padded" }, el("h2", {}, "Now"), locks.length ? taken : free, documentLink(ended.root)),
    timeline(events),
  ]);
}

/** @param {string} href */
function documentLink(href) {
  if (!isAtOrBelow(href, session.mount)) return null;
  return el("p", {}, el("a", { href }, "Open the current version"), " to read.");
}

async function showUnknown() {
  const events = await readRecord();
  const queued = stillWaiting(events)[0];
  if (queued) {
    root = queued.root;
    show(events, () => [
      el("article", { class: "card padded" }, el("p", { class: "signs" }, el("span", { class: "chip mine" }, "Waiting in line")), ...heading(queued.root),
        el("p", {}, el("b", {}, foreign(pastHolder(queued))), ` has waited for this lock since ${clock(queued.at)}. This page shows it as soon as it is granted.`)),
      timeline(events),
    ]);
    return;
  }
  show(events, () => [
    el("div", { class: "card empty" }, padlock(), el("h1", {}, "No such lock"),
      el("p", {}, "No lock with this id is known: there was none, its end lies longer back than the record is kept, or it is not yours to see.")),
    timeline(events),
  ]);
}

/** @param {import("./api.js").LockEvent[]} events the oldest first */
function timeline(events) {
  if (!events.length) return null;
  const granted = events.find((event) => event.kind === "granted");
  const items = events.map((event) => {
    const [word, colour] = KINDS[/** @type {keyof typeof KINDS} */ (event.kind)] ?? [event.kind, ""];
    const heldFor = granted && event.seq > granted.seq ? (Date.parse(event.at) - Date.parse(granted.at)) / 1000 : null;
    const reason = eventReason(event);
    return el("li", {}, el("time", { datetime: event.at, title: inFull(event.at) }, clock(event.at)), el("span", {}, el("span", { class: `chip ${colour}` }, word)),
      el("div", { class: "said" }, ...eventSentence(event, heldFor), reason ? el("small", {}, foreign(reason)) : null));
  });
  const all = el("a", { href: `/history${query({ under: pathText(root) })}` }, "Everything that happened here");
  return el("section", { class: "card" }, el("h2", { class: "over" }, "What happened"), el("ol", { class: "record" }, ...items), el("p", { class: "under" }, all));
}

/** What happened to this lock, from the newest back to its grant; kept until the feed tells of more. */
async function readRecord() {
  if (record !== null) return record;
  const told = recordTold;
  /** @type {import("./api.js").LockEvent[]} */
  const found = [];
  let before = null;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const page = await ask("GET", `/api/history${query({ lock: id, order: "newest", before, limit: PAGE })}`);
    found.unshift(...page.events.reverse());
    if (!page.more || found.some((event) => event.kind === "granted")) break;
    before = page.next;
  }
  if (told === recordTold) record = found; // else it is read again: what was told since may not be in it
  return found;
}

/** @param {import("./api.js").Lock} lock */
async function waitersFor(lock) {
  const page = await ask("GET", `/api/history${query({ under: lock.root, kind: "queued,left,granted", order: "newest", limit: PAGE })}`);
  return stillWaiting(page.events).slice(0, lock.queue_length);
}

function readSoon() {
  if (!gathering) gathering = setTimeout(() => void read(), GATHER_MS);
}

function tick() {
  if (endsAt === null || document.hidden) return;
  const left = endsAt - uptime();
  countdownSign.classList.toggle("soon", left < 60);
  say(countdownSign, left <= 0 ? "ending…" : `${countdown(left)} left`);
  if (left < NEAR_END_S) readSoon();
}

async function start() {
  try {
    session = await openSession();
  } catch (error) {
    showProblem(error instanceof Error ? error.message : String(error));
    return;
  }
  dressHead(session);
  await read();
  followFeed({
    onState: showState,
    onOpen: () => {
      forgetRecord();
      readSoon();
    },
    onEvent: (event) => {
      if (event.lock_id === id) forgetRecord();
      const concerns = event.lock_id === id || (root && (isAtOrBelow(event.root, root) || isAtOrBelow(root, event.root)));
      if (concerns) readSoon();
    },
  });
  setInterval(tick, 1000);
  setInterval(() => {
    if (!document.hidden) readSoon();
  }, READ_AGAIN_MS);
}

void start();
