-- The log of webhook deliveries. Times are nanoseconds since 1970.

CREATE TABLE deliveries (
    number          INTEGER PRIMARY KEY,
    company_id      TEXT    NOT NULL,
    delivery_id     TEXT    NOT NULL,
    endpoint_id     TEXT    NOT NULL,
    webhook_id      TEXT    NOT NULL,
    event_type      TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    conversation_id TEXT,
    sequence        INTEGER,
    rank            INTEGER NOT NULL,
    happened_at     INTEGER NOT NULL,
    began_at        INTEGER NOT NULL,
    round           INTEGER NOT NULL,
    replay_id       TEXT,
    state           TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    status          INTEGER,
    reason          TEXT,
    last_attempt_at INTEGER,
    next_attempt_at INTEGER,
    keep_until      INTEGER NOT NULL,
    -- Last, because it is long and lists do without it.
    payload         TEXT,
    UNIQUE (company_id, delivery_id)
) STRICT;

CREATE INDEX deliveries_by_time ON deliveries (company_id, happened_at, delivery_id);

-- With all that the counts of an endpoint need, so that they are one walk.
CREATE INDEX deliveries_by_endpoint ON deliveries (company_id, endpoint_id, happened_at, delivery_id, state,
    next_attempt_at);

CREATE INDEX deliveries_by_conversation ON deliveries (company_id, conversation_id, endpoint_id, sequence, rank);

CREATE INDEX deliveries_by_keep_until ON deliveries (keep_until);

-- The tries of a delivery; `slot` tells them apart and is their order.
CREATE TABLE delivery_attempts (
    delivery INTEGER NOT NULL REFERENCES deliveries (number) ON DELETE CASCADE,
    slot     INTEGER NOT NULL,
    attempt  TEXT    NOT NULL,
    PRIMARY KEY (delivery, slot)
) STRICT, WITHOUT ROWID;

-- How endpoints did when they were tried last.
CREATE TABLE endpoint_health (
    company_id      TEXT NOT NULL,
    endpoint_id     TEXT NOT NULL,
    failing_since   INTEGER,
    last_success_at INTEGER,
    last_failure_at INTEGER,
    last_failure    TEXT,
    open_until      INTEGER,
    PRIMARY KEY (company_id, endpoint_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE replays (
    company_id TEXT    NOT NULL,
    replay_id  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    keep_until INTEGER NOT NULL,
    replay     TEXT    NOT NULL,
    PRIMARY KEY (company_id, replay_id)
) STRICT, WITHOUT ROWID;
