// Ending a lock by force: who is hurt, why, and when. One's own lock is ended the same way, and said more gently.

import { ask } from "./api.js";
import { choice, field, openDialog } from "./dialogs.js";
import { el, foreign } from "./dom.js";
import { toast } from "./page.js";
import { ago, clock, span } from "./time.js";
import { claims, holderName, lockedText } from "./words.js";

const GRACES = [60, 300, 900, 3600];

/**
 * Ask, and break the lock.
 * @param {import("./api.js").Lock} lock
 * @param {import("./session.js").Session} session
 * @param {(ended: boolean) => void} onDone told whether it has ended already
 */
export function askToBreak(lock, session, onDone) {
  const isOwn = session.owns(lock) && !session.isOpen;
  const holder = holderName(lock.holder);
  openDialog({
    title: isOwn ? ["End your lock?"] : ["Break the lock of ", foreign(holder), "?"],
    body: [whoIsHurt(lock, holder), reasonField(isOwn), graceField()],
    confirm: isOwn ? "End my lock" : "Break the lock",
    isDanger: true,
    act: async (values) => {
      const after = values.get("when") === "later" ? Number(values.get("grace")) : 0;
      const answer = await ask("POST", `/api/locks/${encodeURIComponent(lock.id)}/break`, { reason: String(values.get("reason")).trim(), after });
      const hasEnded = !answer.breaking;
      toast(hasEnded ? `The lock on ${lockedText(lock)} has ended.` : `The lock on ${lockedText(lock)} ends at ${clock(answer.breaking.at)}.`);
      onDone(hasEnded);
    },
  });
}

/**
 * @param {import("./api.js").Lock} lock
 * @param {string} holder
 */
function whoIsHurt(lock, holder) {
  const said = claims(lock.holder).flatMap((text, index) => [index ? ", " : " (", foreign(text)]);
  const held = el("p", {}, el("b", {}, foreign(holder)), ...said, said.length ? ")" : "", " has held ", foreign(lockedText(lock)), ` since ${clock(lock.since)} (${ago(lock.since)}).`);
  const harm = el("p", {}, "What they have not saved by then, they may not be able to save. They are told who broke it, when and why.");
  const line = lock.queue_length ? el("p", {}, `${lock.queue_length} waiting in line; the first of them gets it.`) : null;
  return el("div", { class: "hurt" }, held, harm, line);
}

function graceField() {
  const select = el("select", { name: "grace", "aria-label": "Grace", onchange: () => later.querySelector("input")?.click() },
    ...GRACES.map((seconds) => el("option", { value: seconds, selected: seconds === 300 }, span(seconds))));
  const later = choice({ type: "radio", name: "when", value: "later" }, "After a grace of", select);
  return el("fieldset", { class: "field" }, el("legend", {}, "When"),
    choice({ type: "radio", name: "when", value: "now", checked: true }, "At once"), later,
    el("small", {}, "Within the grace the holder can finish and release it; refreshing does not prolong it."));
}

/** @param {boolean} isOwn */
function reasonField(isOwn) {
  const input = el("input", { name: "reason", required: true, autofocus: true, maxlength: 1024, autocomplete: "off", pattern: ".*\\S.*", title: "A few words" });
  return field("Why", input, isOwn ? "It is recorded." : "The former holder reads it, and it is recorded.");
}
