// What the login page says of the attempt before, and where it leads to after.

import { byId } from "./dom.js";

const asked = new URLSearchParams(location.search);

/** @type {HTMLInputElement} */ (byId("next")).value = asked.get("next") ?? "/";

/** @param {string} text */
function tell(text) {
  const problem = byId("problem");
  problem.textContent = text;
  problem.hidden = false;
}

const slowed = Number(asked.get("slowed"));
if (asked.has("slowed")) {
  const wait = slowed > 0 ? `${Math.ceil(slowed)} ${Math.ceil(slowed) === 1 ? "second" : "seconds"}` : "a moment";
  tell(`Too many wrong attempts. Wait ${wait}, then try again.`);
} else if (asked.has("failed")) {
  tell("Name or password is wrong. Mind capital letters.");
}
