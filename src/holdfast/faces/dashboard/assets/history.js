// The page of the record: what happened to locks, the newest first, with what happens now on top.

import { ask, query } from "./api.js";
import { align, byId, el, fill, foreign, padlock } from "./dom.js";
import { followFeed } from "./feed.js";
import { dressHead, showProblem, showState, wireTheme } from "./page.js";
import { isAtOrBelow, pathHref } from "./paths.js";
import { openSession } from "./session.js";
import { day, inFull } from "./time.js";
import { KINDS, eventReason, eventSentence } from "./words.js";

/** @typedef {import("./api.js").LockEvent} LockEvent */

const PAGE = 100;
const MOST = 500; // events that stand in the page at once
const DRAW_MS = 150;
const TYPING_MS = 250;

wireTheme();
const under = /** @type {HTMLInputElement} */ (byId("under"));
const who = /** @type {HTMLInputElement} */ (byId("who"));
const kind = /** @type {HTMLSelectElement} */ (byId("kind"));
const record = byId("record");
const older = /** @type {HTMLButtonElement} */ (byId("older"));
const newest = /** @type {HTMLButtonElement} */ (byId("newest"));

/** The newest first. @type {LockEvent[]} */
let events = [];
/** What goes into `before` for older ones. */
let next = 0;
let hasOlder = false;
let isAtHead = true;
let isLoading = true;
let era = 0;
let drawing = 0;
/** When each lock was granted, as far as is known. @type {Map<string, number>} */
const grantedAt = new Map();
/** @type {Map<number, {element: HTMLElement, heldFor: number | null}>} */
const items = new Map();
/** @type {Map<string, HTMLElement>} */
const days = new Map();
/** Seqs that came by the feed. @type {Set<number>} */
const fresh = new Set();

const choice = () => ({ under: under.value.trim() && pathHref(under.value), principal: who.value.trim(), kind: kind.value });

/**
 * Read a page of events before a seq (0: the newest), and what to read next.
 * @param {number} before
 */
async function read(before) {
  const page = await ask("GET", `/api/history${query({ ...choice(), order: "newest", before: before || null, limit: PAGE })}`);
  for (const event of page.events) note(event);
  return page;
}

/** @param {LockEvent} event */
function note(event) {
  if (event.kind === "granted") grantedAt.set(event.lock_id, Date.parse(event.at));
}

/** From the newest, in place of what is shown. */
async function readNewest() {
  const mine = ++era;
  try {
    const page = await read(0);
    if (mine !== era) return;
    const isJoined = isAtHead && events.some((event) => page.events.some((/** @type {LockEvent} */ other) => other.seq === event.seq));
    if (isJoined) merge(page.events);
    else [events, next, hasOlder] = [page.events, page.next, page.more];
    isAtHead = true;
    isLoading = false;
    showProblem("");
  } catch (error) {
    if (mine !== era) return;
    isLoading = false;
    showProblem(error instanceof Error ? error.message : String(error));
  }
  draw();
}

async function readOlder() {
  const mine = era;
  older.disabled = true;
  try {
    const page = await read(next);
    if (mine !== era) return;
    [next, hasOlder] = [page.next, page.more];
    events = [...events, ...page.events];
    if (events.length > MOST) {
      events = events.slice(-MOST);
      isAtHead = false;
    }
  } catch (error) {
    showProblem(error instanceof Error ? error.message : String(error));
  } finally {
    older.disabled = false;
  }
  draw();
}

/** @param {LockEvent[]} more */
function merge(more) {
  const known = new Set(events.map((event) => event.seq));
  events = [...more.filter((event) => !known.has(event.seq)), ...events].sort((one, other) => other.seq - one.seq);
  if (events.length <= MOST) return;
  events = events.slice(0, MOST);
  [next, hasOlder] = [events[events.length - 1].seq, true];
}

/** @param {LockEvent} event */
function add(event) {
  note(event);
  const wanted = choice();
  const fits =
    (!wanted.under || isAtOrBelow(event.root, wanted.under)) &&
    (!wanted.kind || event.kind === wanted.kind) &&
    (!wanted.principal || event.holder === wanted.principal || event.actor === wanted.principal);
  if (!fits || !isAtHead || isLoading) return;
  fresh.add(event.seq);
  merge([event]);
  if (!drawing) drawing = setTimeout(draw, DRAW_MS);
}

function draw() {
  clearTimeout(drawing);
  drawing = 0;
  const wanted = new Set(events.map((event) => event.seq));
  for (const seq of items.keys()) if (!wanted.has(seq)) items.delete(seq);
  /** @type {Map<string, HTMLElement[]>} */
  const byDay = new Map();
  for (const event of events) {
    const name = day(event.at);
    const elements = byDay.get(name);
    if (elements) elements.push(item(event));
    else byDay.set(name, [item(event)]);
  }
  for (const name of days.keys()) if (!byDay.has(name)) days.delete(name);
  align(record, [...byDay.keys()].map(dayOf));
  for (const [name, elements] of byDay) align(dayOf(name).lastElementChild ?? record, elements);
  drawEmpty();
  byId("pager").hidden = !hasOlder && isAtHead;
  older.hidden = !hasOlder;
  newest.hidden = isAtHead;
}

/**
 * The section of a day, which ends in its list.
 * @param {string} name
 */
function dayOf(name) {
  const known = days.get(name);
  if (known) return known;
  const section = el("section", {}, el("h2", {}, name), el("ol", { class: "record" }));
  days.set(name, section);
  return section;
}

/**
 * The element of an event, made anew only when more is known of it.
 * @param {LockEvent} event
 */
function item(event) {
  const since = grantedAt.get(event.lock_id);
  const heldFor = since === undefined || event.kind === "granted" ? null : (Date.parse(event.at) - since) / 1000;
  const known = items.get(event.seq);
  if (known && known.heldFor === heldFor) {
    known.element.classList.remove("fresh");
    return known.element;
  }
  const [word, colour] = KINDS[/** @type {keyof typeof KINDS} */ (event.kind)] ?? [event.kind, ""];
  const reason = eventReason(event);
  const element = el("li", { class: fresh.has(event.seq) && !known ? "fresh" : null, dataset: { seq: event.seq } },
    el("time", { datetime: event.at, title: inFull(event.at) }, new Date(event.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })),
    el("span", {}, el("span", { class: `chip ${colour}` }, word)),
    el("div", { class: "said" }, ...eventSentence(event, heldFor), reason ? el("small", {}, foreign(reason)) : null));
  items.set(event.seq, { element, heldFor });
  return element;
}

function drawEmpty() {
  const empty = byId("empty");
  empty.hidden = events.length > 0;
  empty.setAttribute("aria-busy", String(isLoading));
  if (isLoading) fill(empty, "Reading the record…");
  else if (Object.values(choice()).some(Boolean)) fill(empty, padlock(), el("h2", {}, "Nothing fits"), el("p", {}, hasOlder ? "Not among the newest events; there are older ones." : "No event that is kept fits this path, name and kind."));
  else fill(empty, padlock(), el("h2", {}, "Nothing has happened yet"), el("p", {}, "Each lock that is granted, and each end of one, will stand here: who, what, when and why."));
}

function choose() {
  [events, next, hasOlder, isAtHead, isLoading] = [[], 0, false, true, true];
  draw();
  void readNewest();
}

function wire() {
  let typing = 0;
  const later = () => {
    clearTimeout(typing);
    typing = setTimeout(choose, TYPING_MS);
  };
  under.addEventListener("input", later);
  who.addEventListener("input", later);
  kind.addEventListener("change", choose);
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    choose();
  });
  older.addEventListener("click", () => void readOlder());
  newest.addEventListener("click", choose);
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof Element && event.target.closest("input, select, textarea");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    under.focus();
  });
}

async function start() {
  try {
    dressHead(await openSession());
  } catch (error) {
    showProblem(error instanceof Error ? error.message : String(error));
    return;
  }
  under.value = new URLSearchParams(location.search).get("under") ?? "";
  wire();
  void readNewest();
  followFeed({ onState: showState, onOpen: () => isAtHead && void readNewest(), onEvent: add });
}

void start();
