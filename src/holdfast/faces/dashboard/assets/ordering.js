// Which of the known locks are shown, and in which order.

import { pathText } from "./paths.js";
import { programName } from "./programs.js";
import { holderName } from "./words.js";

/** @typedef {import("./holdings.js").KnownLock} KnownLock */

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** @type {Record<string, (one: KnownLock, other: KnownLock) => number>} */
const ORDERS = {
  root: (one, other) => collator.compare(pathText(one.root), pathText(other.root)),
  holder: (one, other) => collator.compare(holderName(one.holder), holderName(other.holder)),
  since: (one, other) => Date.parse(other.since) - Date.parse(one.since),
  until: (one, other) => (one.endsAt ?? Infinity) - (other.endsAt ?? Infinity) || 0,
  line: (one, other) => other.queue_length - one.queue_length,
};

/**
 * The locks that have all words of `search` somewhere, sorted; those that are equal in that, by resource and id.
 * @param {Iterable<KnownLock>} locks
 * @param {string} search
 * @param {{by: string, isReversed: boolean}} order
 * @returns {KnownLock[]}
 */
export function arranged(locks, search, order) {
  const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const found = [...locks].filter((lock) => {
    if (!words.length) return true;
    const text = [pathText(lock.root), lock.holder.name, lock.holder.owner, programName(lock.holder.client), lock.reason, lock.id].join("\n").toLocaleLowerCase();
    return words.every((word) => text.includes(word));
  });
  const compare = ORDERS[order.by] ?? ORDERS.root;
  const sign = order.isReversed ? -1 : 1;
  return found.sort((one, other) => sign * compare(one, other) || ORDERS.root(one, other) || (one.id < other.id ? -1 : 1));
}
