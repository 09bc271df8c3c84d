// Closing a tree for maintenance, and opening it again: a lock of an administrator that covers everything below a path.

import { ApiError, ask, query } from "./api.js";
import { choice, field, openDialog } from "./dialogs.js";
import { el, fill, foreign } from "./dom.js";
import { toast } from "./page.js";
import { pathHref, pathText } from "./paths.js";
import { clock, countdown, fieldValue, uptime } from "./time.js";
import { count, holderName, principal } from "./words.js";

const MOST_SHOWN = 20;
const TYPING_MS = 250;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const LONGEST_TTL_S = 2 ** 31 - 1; // what may be asked for; the server grants less

/**
 * True for a lock that closes a tree: it covers all below, and has no end, stands on everything, or came by the command line.
 * @param {import("./api.js").Lock} lock
 */
export const isClosure = (lock) =>
  lock.depth === "infinity" && lock.scope === "exclusive" && (lock.root === "/" || lock.expires_at === null || lock.face === "command");

/**
 * Ask what to close, why and until when, and close it.
 * @param {(lock: import("./api.js").Lock) => void} onDone
 */
export function askToClose(onDone) {
  const path = /** @type {HTMLInputElement} */ (
    el("input", { name: "path", value: "/", required: true, autocomplete: "off", autocapitalize: "off", spellcheck: "false" })
  );
  const reason = el("input", { name: "reason", required: true, autofocus: true, maxlength: 1024, autocomplete: "off", pattern: ".*\\S.*", title: "A few words", placeholder: "Upgrade, back at ten" });
  const inTheWay = el("div", { class: "field", role: "status" });
  const dialog = openDialog({
    title: ["Close for maintenance"],
    body: [
      el("p", { class: "intro" }, "Reading goes on. Every change is refused, with your reason and the end, in all programs."),
      field("Path", path, "/ is everything; /dav/plans is a collection and all that is in it."),
      field("Reason", reason),
      untilField(),
      inTheWay,
    ],
    confirm: "Close for maintenance",
    isDanger: true,
    act: async (values) => onDone(await close(values)),
  });
  let typing = 0;
  const look = () => showInTheWay(path.value, inTheWay);
  path.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(look, TYPING_MS);
  });
  dialog.addEventListener("close", () => clearTimeout(typing));
  void look();
}

function untilField() {
  const at = el("input", { type: "datetime-local", name: "at", "aria-label": "Until when", value: fieldValue(new Date(Date.now() + HOUR_MS)),
    onfocus: () => until.querySelector("input")?.click() });
  const until = choice({ type: "radio", name: "end", value: "at" }, "Until", at);
  return el("fieldset", { class: "field" }, el("legend", {}, "End"),
    choice({ type: "radio", name: "end", value: "none", checked: true }, "Until it is opened again"), until);
}

/**
 * Tell which locks are in the way, and offer to break them.
 * @param {string} path
 * @param {HTMLElement} place
 */
async function showInTheWay(path, place) {
  const resource = pathHref(path);
  place.dataset.path = resource;
  try {
    const [below, above] = await Promise.all([
      ask("GET", `/api/locks${query({ under: resource, limit: MOST_SHOWN + 1 })}`),
      ask("GET", `/api/locks${query({ covering: resource, limit: MOST_SHOWN })}`),
    ]);
    if (place.dataset.path !== resource) return; // another path was typed meanwhile
    /** @type {Map<string, import("./api.js").Lock>} */
    const locks = new Map([...above.locks, ...below.locks].map((lock) => [lock.id, lock]));
    if (locks.size === 0) {
      fill(place, el("small", {}, "No lock is in the way."));
      return;
    }
    const shown = [...locks.values()].slice(0, MOST_SHOWN);
    const isAll = locks.size <= MOST_SHOWN && below.next === null;
    const heading = isAll ? `${count(locks.size, "lock")} ${locks.size === 1 ? "is" : "are"} in the way` : `More than ${MOST_SHOWN} locks are in the way`;
    fill(place,
      el("div", { class: "hurt" }, el("p", {}, el("b", {}, heading)),
        el("ul", {}, ...shown.map((lock) => el("li", {}, foreign(holderName(lock.holder)), ": ", foreign(pathText(lock.root)))))),
      choice({ type: "checkbox", name: "break", value: "yes", required: true }, "Break them: their holders lose what they have not saved"));
  } catch (error) {
    if (place.dataset.path === resource) fill(place, el("small", {}, error instanceof Error ? error.message : String(error)));
  }
}

/**
 * @param {FormData} values
 * @returns {Promise<import("./api.js").Lock>}
 */
async function close(values) {
  const reason = String(values.get("reason")).trim();
  const end = values.get("end") === "at" ? new Date(String(values.get("at"))) : null;
  if (end !== null && Number.isNaN(end.getTime())) throw new Error("Say until when, or choose that it stays closed until it is opened again.");
  if (end !== null && end.getTime() <= Date.now()) throw new Error("That moment is over already; choose a later one.");
  const body = {
    resource: pathHref(String(values.get("path"))),
    depth: "infinity",
    ttl: end === null ? null : Math.min(LONGEST_TTL_S, Math.max(1, (end.getTime() - Date.now()) / 1000)),
    reason,
    ...(values.has("break") ? { break: { reason } } : {}),
  };
  try {
    const lock = await ask("POST", "/api/locks", body);
    const isCut = end !== null && lock.expires_at !== null && end.getTime() - Date.parse(lock.expires_at) > MINUTE_MS;
    toast(`${where(lock)} is closed${isCut ? ` until ${clock(lock.expires_at)}, the longest that this server allows with an end` : ""}.`);
    return lock;
  } catch (error) {
    if (error instanceof ApiError && error.status === 423) {
      throw new Error("Somebody has taken a lock in the meantime. Look at the list, and break what is in the way.", { cause: error });
    }
    throw error;
  }
}

/** @param {import("./api.js").Lock} lock */
const where = (lock) => (lock.root === "/" ? "Everything" : pathText(lock.root));

/**
 * End a closure.
 * @param {import("./api.js").Lock} lock
 * @param {() => void} onDone
 */
export async function openAgain(lock, onDone) {
  try {
    await ask("POST", `/api/locks/${encodeURIComponent(lock.id)}/break`, { reason: "opened again" });
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 410)) {
      toast(error instanceof Error ? error.message : String(error));
      return;
    }
  }
  toast(`${where(lock)} is open again.`);
  onDone();
}

/**
 * The banner of a closure. Its countdown is the element with the class `left`, and `endsAt` in its data.
 * @param {import("./api.js").Lock} lock
 * @param {boolean} mayOpen
 * @param {() => void} onDone
 */
export function closureBanner(lock, mayOpen, onDone) {
  const left = lock.expires_in === null ? null : el("span", { class: "left", dataset: { endsAt: uptime() + lock.expires_in } }, countdown(lock.expires_in));
  const until = lock.expires_at === null || left === null ? "until it is opened again" : `until ${clock(lock.expires_at)}, `;
  const text = el("p", {}, el("strong", {}, lock.root === "/" ? "Closed for maintenance." : "Closed: "),
    lock.root === "/" ? null : foreign(pathText(lock.root)), " ", lock.reason ? foreign(lock.reason) : null, " ",
    el("small", { class: "quiet" }, "By ", foreign(principal(lock.holder.name)), ` since ${clock(lock.since)}, ${until}`, left, ". Reading goes on."));
  return el("section", { class: "banner", "aria-label": "Maintenance" }, text,
    mayOpen ? el("button", { type: "button", onclick: () => openAgain(lock, onDone) }, "Open again") : null);
}
