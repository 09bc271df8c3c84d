// Going on with one's own lock from another place: a new token for a lost one, shown once.

import { ask } from "./api.js";
import { openDialog } from "./dialogs.js";
import { el, foreign } from "./dom.js";
import { copyable } from "./copying.js";
import { lockedText } from "./words.js";

/**
 * Ask, take the lock over, and show the new token.
 * @param {import("./api.js").Lock} lock
 * @param {(id: string) => void} onDone told the id of the new lock once its token has been seen
 */
export function askToTakeOver(lock, onDone) {
  openDialog({
    title: ["Take over your lock?"],
    body: [
      el("p", { class: "intro" }, "For going on at another place, or when its token was lost. You get a new token for ",
        foreign(lockedText(lock)), "; whatever uses the old one is refused from now on."),
    ],
    confirm: "Take over",
    act: async () => {
      const granted = await ask("POST", `/api/locks/${encodeURIComponent(lock.id)}/take-over`, {});
      const shown = openDialog({
        title: ["The lock is yours here"],
        body: [
          el("p", { class: "intro" }, "Keep the token: it is a secret, and is not shown again."),
          el("b", {}, "Token"), copyable(granted.token, "token"),
          el("b", {}, "Fencing token"), copyable(String(granted.fencing_token), "fencing token"),
        ],
        confirm: "Done",
        cancel: "",
        act: async () => {},
      });
      shown.addEventListener("close", () => onDone(granted.id));
    },
  });
}
