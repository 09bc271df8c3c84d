// Instants and spans for people. What counts down goes by a clock that does not jump with the wall clock.

/** Seconds since the page was opened. */
export const uptime = () => performance.now() / 1000;

const two = (/** @type {number} */ number) => String(number).padStart(2, "0");

/**
 * Time that is left, as on a stopwatch: `4:59`, `1:02:03`, `2 d 3 h`.
 * @param {number} seconds
 */
export function countdown(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  if (left >= 2 * 86_400) return `${Math.floor(left / 86_400)} d ${Math.floor((left % 86_400) / 3600)} h`;
  const hours = Math.floor(left / 3600);
  const minutes = Math.floor((left % 3600) / 60);
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(left % 60)}`;
}

/**
 * A span in words: `40 s`, `12 min`, `3 h 5 min`, `2 d`.
 * @param {number} seconds
 */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.round(whole / 60)} min`;
  if (whole < 86_400) {
    const minutes = Math.round((whole % 3600) / 60);
    const hours = Math.floor(whole / 3600) + (minutes === 60 ? 1 : 0);
    return minutes % 60 ? `${hours} h ${minutes} min` : `${hours} h`;
  }
  const days = Math.floor(whole / 86_400);
  const hours = Math.floor((whole % 86_400) / 3600);
  return hours ? `${days} d ${hours} h` : `${days} d`;
}

/**
 * How long ago an instant was, by this machine's clock.
 * @param {string} iso
 */
export function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  return seconds < 45 ? "just now" : `${span(seconds)} ago`;
}

/**
 * The time of day, with the day where it is not today.
 * @param {string} iso
 */
export function clock(iso) {
  const instant = new Date(iso);
  /** @type {Intl.DateTimeFormatOptions} */
  const options = { hour: "2-digit", minute: "2-digit" };
  const now = new Date();
  if (instant.toDateString() !== now.toDateString()) Object.assign(options, { day: "numeric", month: "short" });
  if (instant.getFullYear() !== now.getFullYear()) options.year = "numeric";
  return instant.toLocaleString([], options);
}

/**
 * The instant in full, for a tooltip.
 * @param {string} iso
 */
export const inFull = (iso) => new Date(iso).toLocaleString([], { dateStyle: "full", timeStyle: "medium" });

/**
 * The day, in words where it is near.
 * @param {string} iso
 */
export function day(iso) {
  const instant = new Date(iso);
  const now = new Date();
  if (instant.toDateString() === now.toDateString()) return "Today";
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (instant.toDateString() === yesterday.toDateString()) return "Yesterday";
  /** @type {Intl.DateTimeFormatOptions} */
  const options = { weekday: "long", day: "numeric", month: "long" };
  if (instant.getFullYear() !== now.getFullYear()) options.year = "numeric";
  return instant.toLocaleDateString([], options);
}

/**
 * An instant as the value of a datetime-local field.
 * @param {Date} instant
 */
export const fieldValue = (instant) =>
  `${instant.getFullYear()}-${two(instant.getMonth() + 1)}-${two(instant.getDate())}T${two(instant.getHours())}:${two(instant.getMinutes())}`;
