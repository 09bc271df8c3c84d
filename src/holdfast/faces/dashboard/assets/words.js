// Sentences about locks and events, as nodes: what others wrote is set apart in them.

import { el, foreign } from "./dom.js";
import { pathText } from "./paths.js";
import { programName } from "./programs.js";
import { clock, span } from "./time.js";

/** The name of everybody on a server without users. */
export const ANONYMOUS = "anonymous";

export const FACES = { webdav: "WebDAV", api: "API", command: "command line" };

/** Kind of an event: the word for it, and the colour of its chip. */
export const KINDS = {
  granted: ["Granted", "good"],
  released: ["Released", ""],
  expired: ["Expired", "warn"],
  destroyed: ["Removed", "warn"],
  breaking: ["Being broken", "bad"],
  broken: ["Broken", "bad"],
  queued: ["In line", "mine"],
  left: ["Left line", ""],
};

/**
 * A principal's name for people.
 * @param {string} name
 */
export const principal = (name) => (name && name !== ANONYMOUS ? name : "Someone");

/**
 * Who holds a lock. Without users the owner text is all there is.
 * @param {import("./api.js").Holder} holder
 */
export function holderName(holder) {
  if (holder.name && holder.name !== ANONYMOUS) return holder.name;
  return holder.owner.trim() ? `Someone (“${holder.owner.trim()}”)` : "Someone";
}

/**
 * The same of a lock that has ended, or of one who waits.
 * @param {{holder: string, owner: string}} event
 */
export const pastHolder = (event) => holderName({ name: event.holder, owner: event.owner, client: "" });

/**
 * What the holder's program says of itself, as far as it tells more than the name does.
 * @param {import("./api.js").Holder} holder
 * @returns {string[]}
 */
export function claims(holder) {
  const owner = holder.owner.trim().replace(/^mailto:/i, "");
  const isKnown = !owner || owner === holder.name || holder.name === ANONYMOUS;
  return [programName(holder.client), isKnown ? "" : `“${owner}”`].filter(Boolean);
}

/**
 * What is locked, in a sentence.
 * @param {{root: string, depth: string}} lock
 */
export function lockedText(lock) {
  if (lock.depth !== "infinity") return pathText(lock.root);
  return lock.root === "/" ? "everything on this server" : `${pathText(lock.root)} and everything in it`;
}

/**
 * A link to a lock's page, reading as its resource.
 * @param {{lock_id: string, root: string}} event
 */
const resourceLink = (event) => el("a", { href: `/locks/${encodeURIComponent(event.lock_id)}` }, foreign(pathText(event.root)));

/**
 * What happened, as a sentence. `heldFor` is in seconds, null where it is not known.
 * @param {import("./api.js").LockEvent} event
 * @param {number | null} heldFor
 * @returns {(Node | string)[]}
 */
export function eventSentence(event, heldFor) {
  const link = resourceLink(event);
  const holder = el("b", {}, foreign(pastHolder(event)));
  const actor = el("b", {}, foreign(principal(event.actor)));
  const after = heldFor === null || heldFor < 1 ? "" : ` after ${span(heldFor)}`;
  const isOwn = event.actor === event.holder && event.actor !== ANONYMOUS; // of somebody and somebody nothing is known
  switch (event.kind) {
    case "granted":
      return event.depth === "infinity"
        ? [holder, " locked ", link, " and everything in it", event.scope === "shared" ? ", shared" : ""]
        : [holder, " locked ", link, event.scope === "shared" ? ", shared" : ""];
    case "released":
      return [holder, " released ", link, after];
    case "expired":
      return ["The lock of ", holder, " on ", link, " ran out", after];
    case "destroyed":
      return [actor, " removed ", link, ...(isOwn ? [", and the lock with it"] : [", and the lock of ", holder, " with it"]), after];
    case "breaking": {
      const by = event.ends_at ? `, by ${clock(event.ends_at)}` : "";
      return isOwn ? [holder, " is ending the lock on ", link, by] : [actor, " is breaking the lock of ", holder, " on ", link, by];
    }
    case "broken":
      if (event.actor === event.holder && event.reason === "taken over") return [holder, " took over the lock on ", link, " from another place", after];
      return isOwn ? [holder, " ended the lock on ", link, after] : [actor, " broke the lock of ", holder, " on ", link, after];
    case "queued":
      return [holder, " got in line for ", link];
    case "left":
      return [holder, " left the line for ", link];
    default:
      return [`${event.kind}: `, holder, " ", link];
  }
}

/**
 * Why, where an event has a reason that its sentence does not tell already.
 * @param {import("./api.js").LockEvent} event
 */
export const eventReason = (event) => (event.kind === "broken" && event.reason === "taken over" ? "" : event.reason);

/**
 * `1 lock`, `2 locks`.
 * @param {number} number
 * @param {string} word
 */
export const count = (number, word) => `${number.toLocaleString()} ${word}${number === 1 ? "" : "s"}`;
