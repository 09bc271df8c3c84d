// A text to copy, with a button that does it.

import { el } from "./dom.js";
import { toast } from "./page.js";

const SHOWN_MS = 2000;

/**
 * @param {string} text
 * @param {string} what names it for whoever hears the page
 */
export function copyable(text, what) {
  const code = el("code", {}, text);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), SHOWN_MS);
    } catch {
      // Only pages over TLS or of this machine may write to the clipboard: select it instead.
      getSelection()?.selectAllChildren(code);
      toast("Press Ctrl-C to copy what is selected.");
    }
  };
  const button = el("button", { class: "small", type: "button", title: `Copy the ${what}`, onclick: copy }, "Copy");
  return el("div", { class: "copy" }, el("pre", {}, code), button);
}

/**
 * A word as a shell reads it: as it is where that is safe, else in single quotes.
 * @param {string} text
 */
export const quoted = (text) => (/^[A-Za-z0-9_/.:=,@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
