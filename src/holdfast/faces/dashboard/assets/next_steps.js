// What somebody can do who finds something locked.

import { copyable, quoted } from "./copying.js";
import { el, foreign } from "./dom.js";
import { isClosure } from "./maintenance.js";
import { isAtOrBelow } from "./paths.js";
import { holderName } from "./words.js";

const WAIT_S = 300;

/**
 * @param {import("./api.js").Lock} lock
 * @param {import("./session.js").Session} session
 */
export function nextSteps(lock, session) {
  const isDocument = isAtOrBelow(lock.root, session.mount);
  const who = foreign(holderName(lock.holder));
  if (session.owns(lock) && !session.isOpen) {
    return el("section", { class: "card padded steps" }, el("h2", {}, "This lock is yours"),
      el("ul", {},
        el("li", {}, isDocument ? "Your program releases it when you close the document." : "Release it with its token when the work is done."),
        el("li", {}, "Is the program gone, or the token lost? Take the lock over and go on, or end it.")));
  }
  if (isClosure(lock)) {
    return el("section", { class: "card padded steps" }, el("h2", {}, "What to do next"),
      el("ul", {}, el("li", {}, "Reading goes on as ever; changes are refused until it is open again."),
        el("li", {}, "Keep what you are working on open, or save it under another name outside of this server."),
        el("li", {}, "This page shows the moment it opens.")));
  }
  return el("section", { class: "card padded steps" }, el("h2", {}, "What to do next"),
    el("h3", {}, "Ask for it"),
    el("p", {}, "Ask ", who, isDocument ? " to save and close it. The lock goes at once." : " to release it."),
    isDocument ? el("p", {}, "Until then you can ", el("a", { href: lock.root }, "read the current version"), ", or save yours under another name.") : null,
    el("h3", {}, "Wait in line"),
    el("p", {}, `First come, first served. This asks for the lock, and waits up to ${WAIT_S / 60} minutes for it:`),
    copyable(waitingCommand(lock, session), "command"),
    el("h3", {}, "Is the holder gone?"),
    el("p", {}, lock.expires_at === null ? "This lock has no end of its own." : "A lock that nobody renews ends by itself, at the time above.",
      session.mayBreak(lock) ? " You may break it: its holder is told who did it, and why." : " An administrator can break it before that."));
}

/**
 * The request as a line for a shell.
 * @param {import("./api.js").Lock} lock
 * @param {import("./session.js").Session} session
 */
export function waitingCommand(lock, session) {
  const body = JSON.stringify({ resource: lock.root, wait: WAIT_S });
  const words = ["curl", ...(session.isOpen ? [] : ["-u", session.name]), "--json", body, `${location.origin}/api/locks`];
  return words.map(quoted).join(" ");
}
