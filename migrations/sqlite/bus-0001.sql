-- The embedded bus. Times are nanoseconds since 1970.

-- AUTOINCREMENT: a number is never used twice, so that whoever still works on an erased message settles no other one.
CREATE TABLE messages (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    queue           TEXT    NOT NULL,
    id              BLOB    NOT NULL,
    company_id      TEXT    NOT NULL,
    routing_key     TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    first_queued_at INTEGER NOT NULL,
    due_at          INTEGER NOT NULL,
    body            BLOB    NOT NULL,
    UNIQUE (queue, id)
) STRICT;

CREATE INDEX messages_by_due ON messages (queue, due_at);

CREATE TABLE dead_letters (
    number          INTEGER PRIMARY KEY,
    queue           TEXT    NOT NULL,
    id              BLOB    NOT NULL,
    company_id      TEXT    NOT NULL,
    routing_key     TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    first_queued_at INTEGER NOT NULL,
    died_at         INTEGER NOT NULL,
    reason          TEXT    NOT NULL,
    body            BLOB    NOT NULL,
    UNIQUE (queue, id)
) STRICT;

-- What came and what went, changed in the same transactions as the messages: the account balances at every moment.
CREATE TABLE counters (
    queue    TEXT PRIMARY KEY,
    accepted INTEGER NOT NULL DEFAULT 0,
    done     INTEGER NOT NULL DEFAULT 0,
    erased   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
