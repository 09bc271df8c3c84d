// The inspector's page: sends what was pasted, chosen or asked for to this server, and shows the reports.

import { ask } from "/assets/api.js";
import { byId, el, fill, foreign } from "/assets/dom.js";
import { dressHead, showProblem, wireTheme } from "/assets/page.js";
import { openSession } from "/assets/session.js";

/**
 * @typedef {{document: string, section: string, link: string}} Source
 * @typedef {{rule: string, level: "bad" | "warn" | "info" | "good", summary: string, subject: string, why: string, mend: string, sources: Source[]}} Note
 * @typedef {{topic: string, subject: string, sentence: string}} Statement
 * @typedef {{source: string, explanation: string, method: string, url: string, status: number, reason: string, notes: Note[],
 *   counts: Record<string, number>, score: number, behaviour: Statement[], generic: string}} Report
 */

const LEVELS = ["bad", "warn", "info", "good"];
const EXAMPLE = `HTTP/1.1 423 Locked
Date: Sat, 21 Nov 2026 10:00:00 GMT
Content-Type: application/xml; charset="utf-8"
Retry-After: soon
ETag: "1b2c"
Cache-Control: max-age=60

<?xml version="1.0" encoding="utf-8"?>
<D:error xmlns:D="DAV:"><D:no-conflicting-lock/></D:error>
`;

wireTheme();
const text = /** @type {HTMLTextAreaElement} */ (byId("text"));
const method = /** @type {HTMLInputElement} */ (byId("method"));
const file = /** @type {HTMLInputElement} */ (byId("file"));
const every = /** @type {HTMLInputElement} */ (byId("every"));
const reports = byId("reports");
let mostBytes = 0;

/**
 * Ask the server, with the buttons at rest meanwhile, and show what it says.
 * @param {Record<string, unknown>} body
 */
async function inspect(body) {
  const buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("main button"));
  for (const button of buttons) button.disabled = true;
  showProblem("");
  try {
    const answer = await ask("POST", "/api/inspect", body);
    fill(reports, ...answer.reports.map(shown));
    reports.firstElementChild?.scrollIntoView({ block: "start" });
  } catch (error) {
    fill(reports);
    showProblem(error instanceof Error ? error.message : String(error));
    byId("problem").scrollIntoView({ block: "center" });
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

/** @param {Report} report */
function shown(report) {
  const asked = [report.method, report.url].filter(Boolean).join(" ");
  const chips = LEVELS.filter((level) => report.counts[level]).map((level) => el("span", { class: `chip ${level}` }, `${report.counts[level]} ${level}`));
  return el("section", { class: "card padded report" },
    el("h2", {}, asked ? foreign(asked) : null, asked ? ": " : null, foreign(`${report.status} ${report.reason}`.trim())),
    el("p", { class: "score" }, el("strong", {}, `Score ${report.score} of 100`), ...chips),
    el("p", { class: "explained" }, report.explanation),
    report.notes.length ? el("ol", { class: "notes" }, ...report.notes.map(noted)) : el("p", {}, "There is nothing to say about it."),
    ...behaved(report.behaviour),
    report.generic === "absent" ? el("p", { class: "quiet" }, "The generic HTTP notes are left out: this server has no httplint.") : null);
}

/** @param {Note} note */
function noted(note) {
  const facts = [["Why it matters", note.why], ["How to mend it", note.mend]]
    .filter(([, said]) => said)
    .flatMap(([name, said]) => [el("dt", {}, name), el("dd", {}, ...worded(said))]);
  if (note.sources.length) facts.push(el("dt", {}, "Where it is written"), el("dd", {}, ...note.sources.flatMap(cited)));
  return el("li", { class: note.level },
    el("p", { class: "head" }, el("span", { class: `chip ${note.level}` }, note.level), el("b", {}, note.rule), note.subject ? foreign(note.subject) : null),
    el("p", { class: "summary" }, foreign(note.summary)),
    facts.length ? el("dl", { class: "facts" }, ...facts) : null);
}

/**
 * A sentence of ours, with what stands between backticks as code.
 * @param {string} text
 */
const worded = (text) => text.split(/`([^`]+)`/).map((part, place) => (place % 2 ? el("code", {}, part) : part));

/**
 * A source with its link, which leads to the web or nowhere.
 * @param {Source} source
 * @param {number} place
 */
function cited(source, place) {
  const name = source.section ? `${source.document} section ${source.section}` : source.document;
  const link = source.link.startsWith("https://") ? el("a", { href: source.link, rel: "noreferrer", target: "_blank" }, name) : name;
  return place ? [", ", link] : [link];
}

/** @param {Statement[]} statements */
function behaved(statements) {
  if (!statements.length) return [];
  const rows = statements.flatMap((statement) => [el("dt", {}, statement.subject), el("dd", {}, foreign(statement.sentence))]);
  return [el("h3", {}, "What caches, programs and people do with it"), el("dl", { class: "facts behaviour" }, ...rows)];
}

/** What is asked of a text: a HAR file is JSON, and a response never begins so. */
function asked() {
  const body = text.value;
  const beside = { all: every.checked };
  return /^\s*\{/.test(body) ? { har: body, ...beside } : { response: body, method: method.value.trim().toUpperCase(), ...beside };
}

async function readFile() {
  const chosen = file.files?.[0];
  if (!chosen) return;
  if (chosen.size > mostBytes) {
    showProblem(`The file is too large: at most ${Math.floor(mostBytes / 1048576)} MiB are taken here. “holdfast inspect” takes more.`);
    return;
  }
  const body = await chosen.text();
  const isHar = /^\s*\{/.test(body);
  await inspect(isHar ? { har: body, all: every.checked } : { response: body, method: method.value.trim().toUpperCase(), all: every.checked });
}

function wire() {
  byId("paste").addEventListener("submit", (event) => {
    event.preventDefault();
    void inspect(asked());
  });
  byId("example").addEventListener("click", () => {
    text.value = EXAMPLE;
    method.value = "PUT";
    void inspect(asked());
  });
  file.addEventListener("change", () => void readFile());
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const url = /** @type {HTMLInputElement} */ (byId("url")).value;
    const verb = /** @type {HTMLSelectElement} */ (byId("verb")).value;
    void inspect({ url, method: verb, follow: /** @type {HTMLInputElement} */ (byId("follow")).checked });
  });
}

async function start() {
  try {
    dressHead(await openSession());
    const offer = await ask("GET", "/api/inspect");
    mostBytes = offer.most_bytes;
    fill(byId("verb"), ...offer.methods.map((/** @type {string} */ name) => el("option", {}, name)));
    byId("live").hidden = !offer.urls;
  } catch (error) {
    showProblem(error instanceof Error ? error.message : String(error));
    return;
  }
  wire();
}

void start();
