// URL paths: as the API has them (percent-encoded), and as people read and type them.

/**
 * A path as people read it.
 * @param {string} href
 */
export function pathText(href) {
  try {
    return decodeURIComponent(href);
  } catch {
    return href; // bytes that are no UTF-8 stay as they are written
  }
}

/**
 * A path that somebody typed, as the API takes it. What is percent-encoded already stays so.
 * @param {string} text
 */
export function pathHref(text) {
  const path = `/${text.trim().replace(/^\/+/, "")}`;
  const plain = /%(?![0-9A-Fa-f]{2})/.test(path) ? path : pathText(path);
  return plain.split("/").map(encodeURIComponent).join("/");
}

/**
 * True where `href` is `top` or lies below it.
 * @param {string} href
 * @param {string} top
 */
export function isAtOrBelow(href, top) {
  const path = pathText(href);
  const prefix = pathText(top).replace(/\/+$/, "");
  return path === prefix || path.startsWith(`${prefix}/`);
}

/**
 * The name of a resource, and the collection that it is in.
 * @param {string} href
 * @returns {{name: string, collection: string}}
 */
export function nameAndCollection(href) {
  const path = pathText(href).replace(/\/+$/, "");
  const at = path.lastIndexOf("/");
  return { name: path.slice(at + 1) || "/", collection: path.slice(0, at + 1) };
}
