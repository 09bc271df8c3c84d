// Who looks at the page, and what they may do where: for showing what would be allowed. The server decides.

import { ask } from "./api.js";
import { isAtOrBelow, pathText } from "./paths.js";

/** @typedef {{name: string, grants: {role: string, path: string}[], open: boolean, session: boolean, version: string, mount: string}} SessionBody */

const RANKS = ["none", "reader", "writer", "admin"];

export class Session {
  /** @param {SessionBody} body */
  constructor(body) {
    this.name = body.name;
    this.grants = body.grants;
    this.isOpen = body.open;
    /** True where logging out ends something: with Basic credentials it would not. */
    this.canLogOut = body.session;
    this.version = body.version;
    this.mount = body.mount;
  }

  /**
   * The rank of the role at a path, by the longest grant that covers it.
   * @param {string} href
   */
  rankAt(href) {
    let best = 0;
    let longest = -1;
    for (const grant of this.grants) {
      const length = pathText(grant.path).replace(/\/+$/, "").length;
      if (length > longest && isAtOrBelow(href, grant.path)) [best, longest] = [RANKS.indexOf(grant.role), length];
    }
    return best;
  }

  /** @param {string} href */
  isAdminAt(href) {
    return this.rankAt(href) === RANKS.indexOf("admin");
  }

  /** True for an administrator of anything at all. */
  get administers() {
    return this.grants.some((grant) => grant.role === "admin");
  }

  /**
   * True where the lock is one's own. Without users everybody is one and the same.
   * @param {import("./api.js").Lock} lock
   */
  owns(lock) {
    return lock.holder.name === this.name;
  }

  /** @param {import("./api.js").Lock} lock */
  mayBreak(lock) {
    return this.owns(lock) || this.isAdminAt(lock.root);
  }
}

/** @returns {Promise<Session>} */
export const openSession = async () => new Session(await ask("GET", "/api/session"));
