// 423 Locked for Express: before a request changes anything, a Holdfast server is asked, and its refusal is the answer.

import http from 'node:http';
import https from 'node:https';

const READING = new Set(['GET', 'HEAD', 'OPTIONS']);
const ASKED_WITH = ['accept', 'authorization', 'destination', 'if', 'lock-token'];
const KEPT = [
  'cache-control', 'content-security-policy', 'content-type', 'retry-after', 'vary', 'www-authenticate', 'x-content-type-options',
];

/**
 * Middleware that lets a change through while its resource is free, or its sender holds the lock.
 *
 * `holdfast` is the server's base URL. With `token` (an administrator's API token) and `person`, a function of the request,
 * the application asks for whom it has logged in; without, the request's own Authorization counts at the server. Where the
 * server cannot be asked nothing is changed (503), unless `failOpen` is set: then a lock that nobody can see stops nobody.
 */
export function requireUnlocked(holdfast, { token, person, failOpen = false, timeout = 5000 } = {}) {
  const check = new URL('/api/check', holdfast);
  return async (req, res, next) => {
    if (READING.has(req.method)) return next();
    let answer;
    try {
      answer = await ask(check, question(req, token, person), timeout);
      if (answer.status !== 204 && (answer.status < 400 || answer.status > 499)) throw new Error(`it answered ${answer.status}`);
    } catch (error) {
      console.error(`the locks at ${check.origin} could not be asked: ${error.message || error.code}`);
      return failOpen ? next() : unasked(res);
    }
    if (answer.status === 204) return next();
    refuse(res, answer, check);
  };
}

/** GET, by node:http: fetch would say that a page's script asks (Sec-Fetch-Mode), to whom a server answers otherwise. */
function ask(url, headers, timeout) {
  const { get } = url.protocol === 'https:' ? https : http;
  return new Promise((resolve, reject) => {
    const asking = get(url, { headers, signal: AbortSignal.timeout(timeout) }, async (answer) => {
      try {
        const parts = [];
        for await (const part of answer) parts.push(part);
        resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) });
      } catch (error) {
        reject(error);
      }
    });
    asking.on('error', reject);
  });
}

function question(req, token, person) {
  const headers = {
    'x-forwarded-method': req.method,
    'x-forwarded-uri': req.originalUrl,
    'x-forwarded-host': req.headers.host ?? '',
    'x-forwarded-proto': req.protocol,
  };
  for (const name of ASKED_WITH) if (req.headers[name] !== undefined) headers[name] = req.headers[name];
  if (token) {
    headers.authorization = `Bearer ${token}`;
    const name = person?.(req);
    if (name) headers['x-forwarded-user'] = name;
  }
  return headers;
}

/** The server's refusal, with its fields; its links are made absolute, since they lead to the server. */
function refuse(res, answer, check) {
  for (const name of KEPT) if (answer.headers[name] !== undefined) res.setHeader(name, answer.headers[name]);
  const link = answer.headers.link;
  if (link) res.setHeader('link', link.replaceAll('</', `<${check.origin}/`));
  res.status(answer.status).setHeader('content-length', answer.body.length).end(answer.body);
}

function unasked(res) {
  const problem = {
    type: 'about:blank',
    title: 'Service Unavailable',
    status: 503,
    detail: 'The locks cannot be asked just now, so nothing was changed. Try again shortly.',
  };
  res.status(503).set({ 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store', 'Retry-After': '2' });
  res.end(JSON.stringify(problem));
}
