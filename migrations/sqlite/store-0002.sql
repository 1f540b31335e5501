-- Turns that are kept until a time, and what is counted of turns. Times are nanoseconds since 1970.

-- Empty for turns that are kept until their company is removed. A conversation goes with the last of its turns.
ALTER TABLE turns ADD COLUMN keep_until INTEGER;

CREATE INDEX turns_by_keep_until ON turns (keep_until) WHERE keep_until IS NOT NULL;

-- One row for each turn, so that it counts once.
CREATE TABLE facts (
    number            INTEGER PRIMARY KEY,
    company_id        TEXT    NOT NULL,
    turn_id           TEXT    NOT NULL,
    ended_at          INTEGER NOT NULL,
    keep_until        INTEGER NOT NULL,
    intent            TEXT,
    language          TEXT,
    finish_reason     TEXT    NOT NULL,
    is_degraded       INTEGER NOT NULL,
    first_token_class INTEGER,
    UNIQUE (company_id, turn_id)
) STRICT;

-- One for each grain, by the beginning of the period. In their order what is alike stands side by side, and they hold all
-- that a report needs: adding up is one walk, without a sort and without a look at the rows.
CREATE INDEX facts_by_minute ON facts (company_id, ended_at - ended_at % 60000000000, intent, language, finish_reason,
    is_degraded, first_token_class, ended_at, keep_until);

CREATE INDEX facts_by_day ON facts (company_id, ended_at - ended_at % 86400000000000, intent, language, finish_reason,
    is_degraded, first_token_class, ended_at, keep_until);

CREATE INDEX facts_by_keep_until ON facts (keep_until);
