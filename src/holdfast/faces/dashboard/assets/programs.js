// The everyday names of programs: the same table as in wire/sentences.py, against which a test holds it.

/** What is found in a User-Agent, and what people call the program; the first that fits counts. */
export const PROGRAMS = [
  ["Microsoft Office", "Microsoft Office"],
  ["MSOffice", "Microsoft Office"],
  ["Microsoft-WebDAV-MiniRedir", "Windows Explorer"],
  ["DavClnt", "Windows Explorer"],
  ["LibreOffice", "LibreOffice"],
  ["WebDAVFS", "macOS Finder"],
  ["WebDAVLib", "macOS Finder"],
  ["davfs2", "davfs2"],
  ["cadaver", "cadaver"],
  ["rclone", "rclone"],
  ["Cyberduck", "Cyberduck"],
  ["Mountain Duck", "Mountain Duck"],
  ["gvfs", "GNOME Files"],
  ["KeePass", "KeePass"],
  ["WinSCP", "WinSCP"],
  ["curl/", "curl"],
  ["Mozilla/", "a web browser"],
];

/**
 * The everyday name of the program in a User-Agent; otherwise its first word; empty where unknown.
 * @param {string} client
 */
export function programName(client) {
  for (const [part, name] of PROGRAMS) if (client.includes(part)) return name;
  return (client.trim().split(/\s+/)[0] ?? "").split("/")[0].slice(0, 40);
}
