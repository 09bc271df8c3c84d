// Asking the server. Whoever is not logged in any more is sent to the login page, and comes back here after.

/**
 * @typedef {{name: string, owner: string, client: string}} Holder
 * @typedef {{at: string, by: string, reason: string}} PendingBreak
 * @typedef {{id: string, root: string, scope: "exclusive" | "shared", depth: "0" | "infinity", holder: Holder, reason: string,
 *   since: string, expires_at: string | null, expires_in: number | null, queue_length: number, url: string, face: string,
 *   refreshed_at: string, breaking: PendingBreak | null}} Lock
 * @typedef {{lock_id: string, root: string, scope: string, depth: string, holder: string, owner: string, how: string, at: string, by: string,
 *   reason: string}} Ended
 * @typedef {{seq: number, at: string, kind: string, lock_id: string, root: string, scope: string, depth: string, holder: string,
 *   owner: string, actor: string, reason: string, fencing_token: number, ends_at?: string}} LockEvent
 */

/** What the server refused, or that it could not be reached (status 0). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{detail?: string, title?: string, ended?: Ended, locks?: Lock[]}} problem
   */
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

/**
 * One request; its JSON, or null where the answer has none. Throws ApiError.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function ask(method, path, body, signal) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json, application/problem+json", "X-Requested-With": "Holdfast" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? null : JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, { detail: "The server cannot be reached. Is it running, and are you connected?" });
  }
  if (answer.status === 401) {
    toLogin();
    throw new ApiError(401, { detail: "You are not logged in any more." });
  }
  const text = await answer.text();
  let json = null;
  try {
    json = text ? JSON.parse(text) : null;
  } catch {
    if (answer.ok) throw new ApiError(answer.status, { detail: "The server's answer cannot be read." });
  }
  if (!answer.ok) throw new ApiError(answer.status, json ?? {});
  return json;
}

/** Go to the login page, and from there back to this one. */
export function toLogin() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/**
 * A query from those values that are there.
 * @param {Record<string, string | number | null | undefined>} values
 */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
}
