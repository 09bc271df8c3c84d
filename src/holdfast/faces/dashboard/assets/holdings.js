// The locks that this page knows of, kept up by reading pages of them in turn, and by the feed.
//
// A sweep reads the API's pages from the first to the last; what a whole sweep has not seen, and the feed has not
// brought meanwhile, is gone. Refreshing a lock makes no event, so sweeps go on while the page is looked at.

import { ApiError, ask, query } from "./api.js";
import { isAtOrBelow, pathHref } from "./paths.js";
import { uptime } from "./time.js";

/**
 * @typedef {import("./api.js").Lock & {endsAt: number | null, sweep: number, isFresh: boolean}} KnownLock
 * `endsAt` is on the clock of `uptime()`; null without end.
 * @typedef {{under: string, scope: string, principal: string}} Choice
 */

const PAGE = 1000; // locks that one request reads
const STEP = 5000; // locks that are kept before somebody asks for more
const BURST = 20; // grants in a moment that are read one by one; more of them start a sweep
const GATHER_MS = 120;
const BURST_MS = 2000;
const REREAD_S = 3; // one lock is read again no sooner than this
const MOST_ENDED = 5000;

export class Holdings {
  /** @type {Map<string, KnownLock>} */
  locks = new Map();
  /** True where there are more locks than are kept. */
  hasMore = false;
  isLoading = true;
  /** @type {Choice} */
  choice = { under: "", scope: "", principal: "" };

  #onChange;
  #onProblem;
  #most = STEP;
  #sweep = 0;
  #seen = 0;
  /** @type {string | null} */
  #cursor = null;
  #era = 0;
  /** @type {Promise<void> | null} */
  #reading = null;
  #isStale = false;
  /** Ids whose end is known: one id is one lock, so a late answer brings none of them back. */
  #ended = new Set();
  /** @type {Set<string>} */
  #wanted = new Set();
  #gathering = 0;
  /** @type {Map<string, number>} */
  #readAt = new Map();

  /**
   * @param {() => void} onChange
   * @param {(text: string) => void} onProblem told of what went wrong, and with an empty text that it is well again
   */
  constructor(onChange, onProblem) {
    this.#onChange = onChange;
    this.#onProblem = onProblem;
  }

  /**
   * Look for other locks.
   * @param {Choice} choice
   */
  async choose(choice) {
    this.choice = choice;
    this.#most = STEP;
    this.locks.clear();
    this.isLoading = true;
    this.#onChange();
    await this.readAll();
  }

  /** Keep more of them. */
  async more() {
    this.#most += STEP;
    await this.readAll();
  }

  /** A sweep from the start, page after page. */
  async readAll() {
    this.#era += 1;
    this.#reading = null;
    this.#isStale = false;
    this.#begin();
    const era = this.#era;
    do await this.readOn();
    while (era === this.#era && this.#cursor !== null);
  }

  /** The next page of the sweep. */
  readOn() {
    if (this.#reading) {
      this.#isStale = true; // what is being read may be older than what made somebody ask
      return this.#reading;
    }
    const reading = this.#readPage(this.#era).finally(() => {
      if (this.#reading !== reading) return;
      this.#reading = null;
      this.#onChange();
      if (this.#isStale) void this.readOn();
      this.#isStale = false;
    });
    this.#reading = reading;
    return reading;
  }

  /**
   * Read some locks again, those left out that were read just now.
   * @param {Iterable<string>} ids
   */
  reread(ids) {
    const now = uptime();
    for (const id of ids) {
      if (now - (this.#readAt.get(id) ?? -Infinity) < REREAD_S) continue;
      this.#readAt.set(id, now);
      this.want(id);
    }
  }

  /**
   * Read this lock in a moment.
   * @param {string} id
   */
  want(id) {
    if (this.#ended.has(id)) return;
    this.#wanted.add(id);
    if (!this.#gathering) this.#gathering = setTimeout(() => this.#readWanted(), GATHER_MS);
  }

  /**
   * What an event of the feed changes.
   * @param {import("./api.js").LockEvent} event
   */
  apply(event) {
    if (event.kind === "granted" || event.kind === "breaking") this.want(event.lock_id);
    if (event.kind === "breaking") return;
    if (event.kind === "granted" || event.kind === "queued" || event.kind === "left") {
      for (const lock of this.locks.values()) {
        if (lock.queue_length || event.kind === "queued") {
          if (isAtOrBelow(event.root, lock.root) || isAtOrBelow(lock.root, event.root)) this.want(lock.id);
        }
      }
      return;
    }
    this.forget(event.lock_id);
  }

  /**
   * A lock has ended.
   * @param {string} id
   */
  forget(id) {
    this.#ended.add(id);
    if (this.#ended.size > MOST_ENDED) this.#ended.delete(this.#ended.values().next().value);
    this.#readAt.delete(id);
    this.#wanted.delete(id);
    if (this.locks.delete(id)) this.#onChange();
  }

  #begin() {
    this.#sweep += 1;
    this.#seen = 0;
    this.#cursor = null;
  }

  /** @param {boolean} hasMore */
  #finish(hasMore) {
    for (const [id, lock] of this.locks) if (lock.sweep < this.#sweep) this.locks.delete(id);
    this.hasMore = hasMore;
    this.isLoading = false;
    this.#begin();
  }

  /**
   * @param {import("./api.js").Lock} lock
   * @param {boolean} isFresh
   */
  #keep(lock, isFresh) {
    if (this.#ended.has(lock.id)) return;
    const endsAt = lock.expires_in === null ? null : uptime() + lock.expires_in;
    const before = this.locks.get(lock.id);
    this.locks.set(lock.id, { ...lock, endsAt, sweep: this.#sweep, isFresh: before ? before.isFresh : isFresh });
  }

  /** @param {number} era */
  async #readPage(era) {
    try {
      const limit = Math.min(PAGE, this.#most - this.#seen);
      const filter = { ...this.choice, under: this.choice.under && pathHref(this.choice.under) };
      const page = await ask("GET", `/api/locks${query({ ...filter, limit, cursor: this.#cursor })}`);
      if (era !== this.#era) return;
      for (const lock of page.locks) this.#keep(lock, false);
      this.#seen += page.locks.length;
      this.#cursor = page.next;
      if (page.next === null || this.#seen >= this.#most) this.#finish(page.next !== null);
      this.#onProblem("");
    } catch (error) {
      if (era !== this.#era) return;
      this.#begin();
      this.isLoading = false;
      this.#onProblem(error instanceof Error ? error.message : String(error));
    }
  }

  async #readWanted() {
    const ids = [...this.#wanted];
    this.#wanted.clear();
    if (ids.length > BURST) {
      // A page tells of many at once; what is wanted meanwhile gathers until the next one.
      this.#gathering = setTimeout(() => this.#readWanted(), BURST_MS);
      await this.readOn();
      return;
    }
    this.#gathering = 0;
    const era = this.#era;
    await Promise.all(ids.map((id) => this.#readOne(id, era)));
    this.#onChange();
  }

  /**
   * @param {string} id
   * @param {number} era
   */
  async #readOne(id, era) {
    try {
      const lock = await ask("GET", `/api/locks/${encodeURIComponent(id)}`);
      if (era === this.#era && this.#fits(lock)) this.#keep(lock, !this.isLoading);
    } catch (error) {
      // 404 is also what a lock is that may not be seen.
      if (error instanceof ApiError && (error.status === 410 || error.status === 404)) this.forget(id);
    }
  }

  /** @param {import("./api.js").Lock} lock */
  #fits(lock) {
    const { under, scope, principal } = this.choice;
    return (
      (!under || isAtOrBelow(lock.root, pathHref(under))) &&
      (!scope || lock.scope === scope) &&
      (!principal || lock.holder.name === principal)
    );
  }
}
