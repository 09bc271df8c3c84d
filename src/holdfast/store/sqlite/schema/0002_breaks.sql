-- Locks that are ended by force, and how every lock has ended.

-- Who broke a lock, so that whoever still has its token can be told. One with an `at` to come is set to end then.
CREATE TABLE breaks (
  token TEXT NOT NULL PRIMARY KEY,
  lock_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX breaks_by_at ON breaks (at);

-- The end of a lock by its id; one row for each lock that has ended, none for a grant.
CREATE INDEX ends_by_lock_id ON events (lock_id) WHERE kind <> 'granted';
