// Following the feed of events: open while the page is looked at, and opened again whenever it breaks off.

import { ask } from "./api.js";

/** @typedef {"connecting" | "live" | "reconnecting"} FeedState */

const KINDS = ["granted", "released", "expired", "destroyed", "breaking", "broken", "queued", "left"];
const HIDDEN_MS = 20_000; // a page that nobody looks at for so long takes up no connection
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;

/**
 * Call `onEvent` for each event, and `onOpen` whenever the feed is (again) open: what happened in between may have been missed.
 * @param {{onEvent: (event: import("./api.js").LockEvent) => void, onOpen: () => void, onState: (state: FeedState) => void}} listener
 */
export function followFeed({ onEvent, onOpen, onState }) {
  /** @type {EventSource | null} */
  let source = null;
  let retry = 0;
  let delay = FIRST_RETRY_MS;
  let hidden = 0;

  const close = () => {
    clearTimeout(retry);
    source?.close();
    source = null;
  };

  const open = () => {
    close();
    const opened = new EventSource("/api/events");
    source = opened;
    const take = (/** @type {MessageEvent} */ message) => onEvent(JSON.parse(message.data));
    for (const kind of KINDS) opened.addEventListener(kind, take);
    opened.addEventListener("gap", () => onOpen()); // events that are not kept any more were missed
    opened.addEventListener("open", () => {
      delay = FIRST_RETRY_MS;
      onState("live");
      onOpen();
    });
    opened.addEventListener("error", () => {
      onState("reconnecting");
      // While it is connecting the browser tries again by itself; closed means that the server refused.
      if (opened.readyState !== EventSource.CLOSED || source !== opened) return;
      retry = setTimeout(again, delay);
      delay = Math.min(2 * delay, LONGEST_RETRY_MS);
    });
  };

  const again = async () => {
    try {
      await ask("GET", "/api/session"); // leads to the login page where the session has ended
    } catch {
      // Opening the feed will tell.
    }
    if (source !== null) open();
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.hidden) hidden = setTimeout(close, HIDDEN_MS);
    else if (source === null) open();
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) open();
  });
  onState("connecting");
  open();
}
