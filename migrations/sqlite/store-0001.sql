-- Conversations, documents and the directory. Every key begins with the company. Times are nanoseconds since 1970.

CREATE TABLE conversations (
    company_id      TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    session_id      TEXT    NOT NULL,
    channel         TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    message_count   INTEGER NOT NULL,
    last_sequence   INTEGER NOT NULL,
    summary         TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    PRIMARY KEY (company_id, conversation_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX conversations_by_update ON conversations (company_id, updated_at, conversation_id);

-- `message_count` is the conversation's up to and with the turn, so that storing it again answers as the first time.
-- `idempotency_key` is empty for all but the first turn under a key; the record keeps what the client sent.
CREATE TABLE turns (
    number          INTEGER PRIMARY KEY,
    company_id      TEXT    NOT NULL,
    turn_id         TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    sequence        INTEGER NOT NULL,
    message_count   INTEGER NOT NULL,
    started_at      INTEGER NOT NULL,
    idempotency_key TEXT,
    record          TEXT    NOT NULL,
    UNIQUE (company_id, turn_id),
    UNIQUE (company_id, conversation_id, sequence),
    FOREIGN KEY (company_id, conversation_id) REFERENCES conversations (company_id, conversation_id)
) STRICT;

CREATE UNIQUE INDEX turns_by_idempotency_key ON turns (company_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE documents (
    company_id  TEXT NOT NULL,
    document_id TEXT NOT NULL,
    document    TEXT NOT NULL,
    PRIMARY KEY (company_id, document_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE companies (
    company_id TEXT PRIMARY KEY,
    company    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    hash       TEXT PRIMARY KEY,
    company_id TEXT NOT NULL,
    api_key    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_company ON api_keys (company_id);

CREATE TABLE endpoints (
    company_id  TEXT    NOT NULL,
    endpoint_id TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    endpoint    TEXT    NOT NULL,
    PRIMARY KEY (company_id, endpoint_id)
) STRICT, WITHOUT ROWID;
