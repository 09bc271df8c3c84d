// The page of all locks: filters above, a page of rows below, kept up by the feed and by reading again.

import { ask, query } from "./api.js";
import { askToBreak } from "./breaking.js";
import { align, byId, el, fill, padlock, say } from "./dom.js";
import { followFeed } from "./feed.js";
import { Holdings } from "./holdings.js";
import { askToClose, closureBanner, isClosure, openAgain } from "./maintenance.js";
import { arranged } from "./ordering.js";
import { dressHead, showProblem, showState, wireTheme } from "./page.js";
import { lockRow } from "./rows.js";
import { openSession } from "./session.js";
import { countdown, uptime } from "./time.js";
import { count } from "./words.js";

const SHOWN = 100; // rows on one page
const READ_AGAIN_MS = 15_000;
const NEAR_END_S = 2;
const DRAW_MS = 150; // however much happens, the list is drawn no more often
const TYPING_MS = 250;

wireTheme();
const search = /** @type {HTMLInputElement} */ (byId("search"));
const under = /** @type {HTMLInputElement} */ (byId("under"));
const scope = /** @type {HTMLSelectElement} */ (byId("scope"));
const mine = /** @type {HTMLInputElement} */ (byId("mine"));
const orderSelect = /** @type {HTMLSelectElement} */ (byId("order"));
const table = byId("table");
const tbody = byId("rows");
/** How many there are: read out when somebody searches, and not with each lock that comes and goes. */
const summary = byId("summary");

/** @type {import("./session.js").Session} */
let session;
/** @type {Map<string, import("./rows.js").Row>} */
const rows = new Map();
/** @type {import("./holdings.js").KnownLock[]} */
let visible = [];
let order = { by: "", isReversed: false };
let page = 0;
let drawing = 0;
/** @type {import("./api.js").Lock[]} */
let closures = [];

const holdings = new Holdings(() => {
  summary.setAttribute("aria-live", "off");
  drawSoon();
}, showProblem);

function drawSoon() {
  if (!drawing) drawing = setTimeout(draw, DRAW_MS);
}

function draw() {
  clearTimeout(drawing);
  drawing = 0;
  const found = arranged(holdings.locks.values(), search.value, order);
  const pages = Math.max(1, Math.ceil(found.length / SHOWN));
  page = Math.min(page, pages - 1);
  visible = found.slice(page * SHOWN, (page + 1) * SHOWN);
  drawRows();
  table.hidden = visible.length === 0;
  drawEmpty();
  drawSummary(found.length);
  byId("pager").hidden = pages === 1 && !holdings.hasMore;
  say(byId("where"), `Page ${page + 1} of ${pages}`);
  /** @type {HTMLButtonElement} */ (byId("before")).disabled = page === 0;
  /** @type {HTMLButtonElement} */ (byId("next")).disabled = page === pages - 1;
  byId("more").hidden = !holdings.hasMore;
}

/** Bring the rows in line with what is visible. */
function drawRows() {
  const wanted = new Set(visible.map((lock) => lock.id));
  for (const [id, row] of rows) {
    if (wanted.has(id)) continue;
    if (row.element.contains(document.activeElement)) search.focus({ preventScroll: true }); // not into nowhere
    rows.delete(id);
  }
  const elements = visible.map((lock) => {
    let row = rows.get(lock.id);
    if (row) row.update(lock);
    else rows.set(lock.id, (row = lockRow(lock, session, actOn)));
    return row.element;
  });
  align(tbody, elements);
}

function drawEmpty() {
  const empty = byId("empty");
  empty.hidden = visible.length > 0;
  empty.setAttribute("aria-busy", String(holdings.isLoading));
  if (visible.length || holdings.isLoading) {
    if (holdings.isLoading) fill(empty, "Reading the locks…");
    return;
  }
  if (isFiltered()) {
    fill(empty, padlock(), el("h2", {}, "No lock fits"), el("p", {}, "Others may be held. ", el("button", { class: "small", type: "button", onclick: clearFilters }, "Show all")));
    return;
  }
  fill(empty, padlock(), el("h2", {}, "Nothing is locked"),
    el("p", {}, "Everybody may change everything that they may write to. A lock appears here the moment somebody opens a document to edit it, or a program asks for one."),
    el("p", {}, el("a", { href: `${session.mount.replace(/\/$/, "")}/` }, "Look at the documents"), " or ", el("a", { href: "/docs" }, "lock something by the API"), "."));
}

/** @param {number} found */
function drawSummary(found) {
  const held = holdings.locks.size;
  const known = holdings.hasMore ? `the first ${held.toLocaleString()} locks by resource; narrow it by path for others` : count(held, "lock");
  say(summary, search.value.trim() ? `${found.toLocaleString()} of ${known}` : known[0].toLocaleUpperCase() + known.slice(1));
  summary.hidden = held === 0;
}

const isFiltered = () => Boolean(search.value.trim() || under.value.trim() || scope.value || mine.checked);

function clearFilters() {
  search.value = under.value = scope.value = "";
  mine.checked = false;
  choose();
  search.focus();
}

function choose() {
  page = 0;
  const next = { under: under.value.trim(), scope: scope.value, principal: mine.checked ? session.name : "" };
  if (JSON.stringify(next) === JSON.stringify(holdings.choice)) draw();
  else void holdings.choose(next);
}

/** @param {import("./holdings.js").KnownLock} lock */
function actOn(lock) {
  if (isClosure(lock)) void openAgain(lock, () => ended(lock));
  else askToBreak(lock, session, (hasEnded) => (hasEnded ? ended(lock) : holdings.want(lock.id)));
}

/** @param {import("./api.js").Lock} lock */
function ended(lock) {
  holdings.forget(lock.id);
  void readClosures();
}

/** What closes everything, whatever the list below is narrowed to. */
async function readClosures() {
  try {
    closures = (await ask("GET", `/api/locks${query({ resource: "/" })}`)).locks.filter(isClosure);
  } catch {
    return; // the list says what is wrong
  }
  fill(byId("banners"), ...closures.map((lock) => closureBanner(lock, session.mayBreak(lock), () => ended(lock))));
}

/** @param {string} by */
function sortBy(by) {
  order = { by, isReversed: order.by === by && !order.isReversed };
  orderSelect.value = by;
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-order]"))) {
    const heading = /** @type {HTMLElement} */ (button.closest("th"));
    if (button.dataset.order === by) heading.setAttribute("aria-sort", order.isReversed ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  }
  page = 0;
  draw();
}

function tick() {
  if (document.hidden) return;
  const near = [];
  for (const lock of visible) {
    rows.get(lock.id)?.tick();
    if (lock.endsAt !== null && lock.endsAt - uptime() < NEAR_END_S) near.push(lock.id);
  }
  holdings.reread(near);
  for (const left of /** @type {NodeListOf<HTMLElement>} */ (byId("banners").querySelectorAll(".left"))) {
    const seconds = Number(left.dataset.endsAt) - uptime();
    say(left, countdown(seconds));
    if (seconds <= 0) void readClosures();
  }
}

function wire() {
  let typing = 0;
  const later = (/** @type {() => void} */ act) => {
    clearTimeout(typing);
    typing = setTimeout(act, TYPING_MS);
  };
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    choose();
  });
  search.addEventListener("input", () => {
    summary.setAttribute("aria-live", "polite");
    page = 0;
    drawSoon();
  });
  under.addEventListener("input", () => later(choose));
  scope.addEventListener("change", choose);
  mine.addEventListener("change", choose);
  orderSelect.addEventListener("change", () => {
    order = { by: "", isReversed: false };
    sortBy(orderSelect.value);
  });
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-order]"))) {
    button.addEventListener("click", () => sortBy(button.dataset.order ?? "root"));
  }
  byId("before").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("more").addEventListener("click", () => void holdings.more());
  byId("close").addEventListener("click", () => askToClose((lock) => {
    holdings.want(lock.id);
    void readClosures();
  }));
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof Element && event.target.closest("input, select, textarea, dialog");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.select();
      search.focus();
    }
    if (event.key === "Escape" && event.target === search) {
      search.value = "";
      draw();
    }
  });
}

/** @param {number} pages */
function turn(pages) {
  page += pages;
  draw();
  table.scrollIntoView({ block: "start" });
}

async function start() {
  try {
    session = await openSession();
  } catch (error) {
    showProblem(error instanceof Error ? error.message : String(error));
    return;
  }
  dressHead(session);
  byId("mine-choice").hidden = session.isOpen;
  byId("close").hidden = !session.administers;
  wire();
  sortBy("root");
  followFeed({
    onState: showState,
    onOpen: () => {
      void holdings.readAll();
      void readClosures();
    },
    onEvent: (event) => {
      holdings.apply(event);
      if (event.root === "/") void readClosures();
    },
  });
  void holdings.readAll();
  void readClosures();
  setInterval(tick, 1000);
  setInterval(() => {
    if (!document.hidden) void holdings.readOn();
  }, READ_AGAIN_MS);
}

void start();
