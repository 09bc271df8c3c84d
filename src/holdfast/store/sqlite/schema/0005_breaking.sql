-- Setting a break for later is an event, too; only such events have an instant by which the lock ends.

ALTER TABLE events ADD COLUMN ends_at INTEGER;
