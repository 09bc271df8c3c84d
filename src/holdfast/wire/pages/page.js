"use strict";
(() => {
  // The dress that was chosen on any page of this server is put on before anything is painted.
  const root = document.documentElement;
  try {
    const chosen = localStorage.getItem("holdfast-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch {
    // Without storage the system's dress is worn.
  }
  const dressing = (button) => {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const show = () => {
      root.dataset.dress = isDark() ? "dark" : "light";
      button.title = isDark() ? "Light colours" : "Dark colours";
      button.setAttribute("aria-label", button.title);
    };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try {
        if (isDark() === system.matches) localStorage.removeItem("holdfast-theme");
        else localStorage.setItem("holdfast-theme", root.dataset.theme);
      } catch {
        // Without storage it holds for this page.
      }
      show();
    });
    system.addEventListener("change", show);
    button.hidden = false;
    show();
  };
  const loadedAt = performance.now();
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (button) dressing(button);
    const today = new Date().toDateString();
    for (const element of document.querySelectorAll("time")) {
      const instant = new Date(element.dateTime);
      if (Number.isNaN(instant.getTime())) continue;
      const options = { hour: "2-digit", minute: "2-digit" };
      if (instant.toDateString() !== today) Object.assign(options, { day: "numeric", month: "short" });
      if (instant.getFullYear() !== new Date().getFullYear()) options.year = "numeric";
      element.title = element.textContent;
      element.textContent = instant.toLocaleString([], options);
    }
    const counters = [...document.querySelectorAll("[data-left]")];
    const pad = (number) => String(number).padStart(2, "0");
    const show = () => {
      let running = false;
      for (const element of counters) {
        const left = Math.ceil(Number(element.dataset.left) - (performance.now() - loadedAt) / 1000);
        if (left <= 0) {
          element.textContent = "renewable" in element.dataset ? "over now, unless renewed" : "over now";
          continue;
        }
        running = true;
        const hours = Math.floor(left / 3600);
        const minutes = Math.floor((left % 3600) / 60);
        element.textContent = (hours ? hours + ":" + pad(minutes) : minutes) + ":" + pad(left % 60) + " left";
      }
      if (running) setTimeout(show, 1000 - ((performance.now() - loadedAt) % 1000));
    };
    show();
  });
})();
