-- Who of the waiting line may come back on another connection: a client that chose the id of its place.

ALTER TABLE waiters ADD COLUMN comes_back INTEGER NOT NULL DEFAULT 0;
