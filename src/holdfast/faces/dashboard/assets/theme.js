// Puts on the dress that was chosen, before anything is painted: hence no module, and loaded in the head.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("holdfast-theme");
  } catch {
    // Without storage the system's dress is worn.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
