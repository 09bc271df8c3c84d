// Who waits for a lock, as the record tells it: whoever got in line and has neither left it nor been granted the lock.

/**
 * @param {import("./api.js").LockEvent[]} events in any order
 * @returns {import("./api.js").LockEvent[]} the `queued` ones, first come first
 */
export function stillWaiting(events) {
  const over = new Set(events.filter((event) => event.kind !== "queued").map((event) => event.lock_id));
  return events.filter((event) => event.kind === "queued" && !over.has(event.lock_id)).sort((one, other) => one.seq - other.seq);
}
