// What every page has: who is logged in, the dress, short messages, and the state of the feed.

import { byId, el, fill, foreign, say } from "./dom.js";

const WORDS = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…" };
const TOAST_MS = 6000;

/**
 * Fill the head of the page.
 * @param {import("./session.js").Session} session
 */
export function dressHead(session) {
  const self = byId("self");
  const logout = el("form", { method: "post", action: "/logout" }, el("button", { class: "small plain", type: "submit" }, "Log out"));
  if (!session.isOpen) self.append(el("span", { class: "name", title: `Logged in as ${session.name}` }, foreign(session.name)));
  if (session.canLogOut) self.append(logout);
  say(byId("version"), `Holdfast ${session.version}`);
}

/** Let the button in the head change between light and dark, and remember it. */
export function wireTheme() {
  const root = document.documentElement;
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    root.dataset.dress = isDark() ? "dark" : "light";
    const label = isDark() ? "Light colours" : "Dark colours";
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      // What the system has anyway need not be remembered: it may change by the hour.
      if (isDark() === system.matches) localStorage.removeItem("holdfast-theme");
      else localStorage.setItem("holdfast-theme", root.dataset.theme);
    } catch {
      // Without storage it holds for this page.
    }
    show();
  });
  system.addEventListener("change", show);
  show();
}

/**
 * Show and announce whether the page is live.
 * @param {import("./feed.js").FeedState} state
 */
export function showState(state) {
  const sign = byId("state");
  sign.dataset.state = state;
  say(sign, WORDS[state]);
}

/**
 * A short message, also read out.
 * @param {string} text
 */
export function toast(text) {
  const message = el("div", { class: "toast" }, text);
  byId("toasts").append(message);
  setTimeout(() => message.remove(), TOAST_MS);
}

/**
 * Say what went wrong at the head of the page; empty: nothing is.
 * @param {string} text
 */
export function showProblem(text) {
  const place = byId("problem");
  place.hidden = !text;
  fill(place, text);
}
