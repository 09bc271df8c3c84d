"use strict";
(() => {
  const loadedAt = performance.now();
  const today = new Date().toDateString();
  for (const element of document.querySelectorAll("time")) {
    const instant = new Date(element.dateTime);
    if (Number.isNaN(instant.getTime())) continue;
    const options = { hour: "numeric", minute: "2-digit" };
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
        element.textContent = "over now, unless renewed";
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
})();
