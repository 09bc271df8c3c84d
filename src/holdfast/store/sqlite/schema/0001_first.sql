-- The first version. Instants are microseconds since 1970 on the store's clock; paths are canonical texts.

-- Kept in the order of their roots, so that "at or below a path" is one range and "on a path" one seek.
CREATE TABLE locks (
  root TEXT NOT NULL,
  id TEXT NOT NULL,
  token TEXT NOT NULL,
  scope TEXT NOT NULL,
  depth TEXT NOT NULL,
  principal TEXT NOT NULL,
  owner TEXT NOT NULL,
  owner_xml TEXT,
  reason TEXT NOT NULL,
  client TEXT NOT NULL,
  face TEXT NOT NULL,
  fencing_token INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  refreshed_at INTEGER NOT NULL,
  expires_at INTEGER,
  PRIMARY KEY (root, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX locks_by_id ON locks (id);

CREATE INDEX locks_by_expires_at ON locks (expires_at) WHERE expires_at IS NOT NULL;

-- How many locks each principal has; a principal without locks has no row.
CREATE TABLE principals (
  principal TEXT NOT NULL PRIMARY KEY,
  locks INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row. `latest_at` is the instant of the last commit; below `fencing_ceiling` lie all fencing tokens that
-- were given out without waiting for the disk.
CREATE TABLE counters (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  locks INTEGER NOT NULL,
  next_fencing_token INTEGER NOT NULL,
  fencing_ceiling INTEGER NOT NULL,
  next_seq INTEGER NOT NULL,
  latest_at INTEGER NOT NULL
) STRICT;

INSERT INTO counters VALUES (1, 0, 1, 1, 1, 0);

-- The change feed; `seq` comes from `counters`, so that one is never used again, also after a trim.
CREATE TABLE events (
  seq INTEGER NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  lock_id TEXT NOT NULL,
  root TEXT NOT NULL,
  scope TEXT NOT NULL,
  depth TEXT NOT NULL,
  holder TEXT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  fencing_token INTEGER NOT NULL
) STRICT;

-- A path is kept as what its collection's members start with, and the rest: '/a/' and 'b' for '/a/b', '/' and 'a'
-- for '/a', '' and '/' for '/'. So the members of a collection are one range, and so is all that is below it.
CREATE TABLE properties (
  collection TEXT NOT NULL,
  member TEXT NOT NULL,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  xml TEXT NOT NULL,
  PRIMARY KEY (collection, member, namespace, name)
) STRICT, WITHOUT ROWID;

-- One row: what ties the machine's uptime to an instant, shared by all who open this store (see holdfast.clock).
CREATE TABLE anchor (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  wall_us INTEGER NOT NULL,
  uptime_us INTEGER NOT NULL,
  boot TEXT NOT NULL
) STRICT;
