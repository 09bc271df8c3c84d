-- What a holder says of itself goes into the record: without users, or behind one application's account, nothing else tells who.

ALTER TABLE events ADD COLUMN owner TEXT NOT NULL DEFAULT '';
