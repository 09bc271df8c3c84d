-- The waiting line, and an index of ends that holds nothing else.

-- Who stands in line for a lock. `seq` is the place; it comes from `counters`, so that one is never used again.
CREATE TABLE waiters (
  seq INTEGER NOT NULL PRIMARY KEY,
  id TEXT NOT NULL,
  root TEXT NOT NULL,
  scope TEXT NOT NULL,
  depth TEXT NOT NULL,
  principal TEXT NOT NULL,
  owner TEXT NOT NULL,
  owner_xml TEXT,
  reason TEXT NOT NULL,
  client TEXT NOT NULL,
  face TEXT NOT NULL,
  asked_s REAL,
  endless INTEGER NOT NULL,
  enqueued_at INTEGER NOT NULL,
  lease_until INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX waiters_by_id ON waiters (id);

-- Each of these two ends with `seq`, the key of the table: one root's waiters lie in the order of the line.
CREATE INDEX waiters_by_root ON waiters (root);

CREATE INDEX waiters_by_lease_until ON waiters (lease_until);

ALTER TABLE counters ADD COLUMN waiters INTEGER NOT NULL DEFAULT 0;

ALTER TABLE counters ADD COLUMN next_place INTEGER NOT NULL DEFAULT 1;

-- Requests that queue and leave are in the feed too, and are no end of a lock.
DROP INDEX ends_by_lock_id;

CREATE INDEX ends_by_lock_id ON events (lock_id) WHERE kind IN ('released', 'expired', 'destroyed', 'broken');
