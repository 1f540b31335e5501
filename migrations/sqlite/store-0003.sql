-- What conversations are told apart by in lists, which of them were removed, and the tokens of turns. Times are nanoseconds
-- since 1970.

-- Of the last turn of which it is known. Empty for conversations from before this step until their next turn.
ALTER TABLE conversations ADD COLUMN language TEXT;
ALTER TABLE conversations ADD COLUMN intent TEXT;

CREATE INDEX conversations_by_session ON conversations (company_id, session_id);

-- Turns that began until `removed_until` are not stored any more, should they come late.
CREATE TABLE removed_conversations (
    company_id      TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    removed_until   INTEGER NOT NULL,
    keep_until      INTEGER NOT NULL,
    PRIMARY KEY (company_id, conversation_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX removed_conversations_by_keep_until ON removed_conversations (keep_until);

-- Empty for turns from before this step, whose tokens were not counted.
ALTER TABLE facts ADD COLUMN model TEXT;
ALTER TABLE facts ADD COLUMN input_tokens INTEGER;
ALTER TABLE facts ADD COLUMN output_tokens INTEGER;
ALTER TABLE facts ADD COLUMN is_estimated INTEGER;

CREATE INDEX facts_by_model ON facts (company_id, ended_at - ended_at % 86400000000000, model, is_estimated, input_tokens,
    output_tokens, ended_at, keep_until);
