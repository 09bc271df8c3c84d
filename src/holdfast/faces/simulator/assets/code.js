// The page of a code: the dress, buttons that copy, and this server's own address in the commands.

import { copyable } from "./copying.js";
import { wireTheme } from "./page.js";

wireTheme();
for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;
for (const pre of document.querySelectorAll("pre[data-copy]")) {
  const copy = copyable(pre.textContent, pre.dataset.copy);
  copy.querySelector("pre").className = pre.className;
  pre.replaceWith(copy);
}
