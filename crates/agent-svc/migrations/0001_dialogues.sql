-- Dialogues and their turns. Everything is keyed by principal: nobody's query can reach another's rows.
-- Times are milliseconds since 1970-01-01T00:00:00Z.

CREATE TABLE dialogues (
    principal  TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    -- The first words of its first turn; empty while it has none.
    title      TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (principal, id)
) STRICT;

CREATE INDEX dialogues_newest ON dialogues (principal, updated_at DESC, id DESC);

CREATE TABLE turns (
    -- Order of commit, over all dialogues.
    position          INTEGER PRIMARY KEY AUTOINCREMENT,
    principal         TEXT    NOT NULL,
    dialogue          TEXT    NOT NULL,
    -- Chosen by the client, unique in its dialogue.
    id                TEXT    NOT NULL,
    text              TEXT    NOT NULL,
    -- What was answered; what was heard of it once it was interrupted.
    reply             TEXT    NOT NULL DEFAULT '',
    -- Bytes of the reply that the model wrote: what follows was added, and is not shown to the model again.
    written_bytes     INTEGER NOT NULL DEFAULT 0,
    state             TEXT    NOT NULL
                      CHECK (state IN ('running', 'unconfirmed', 'heard', 'interrupted', 'failed')),
    -- Pieces of memory that the reply used, as a JSON array.
    citations         TEXT    NOT NULL DEFAULT '[]',
    -- Bytes of the reply that were heard, as far as anybody said.
    heard_bytes       INTEGER NOT NULL DEFAULT 0,
    -- Why it failed; empty unless it did.
    failure           TEXT    NOT NULL DEFAULT '',
    model             TEXT    NOT NULL DEFAULT '',
    finish_reason     TEXT    NOT NULL DEFAULT '',
    prompt_tokens     INTEGER NOT NULL DEFAULT 0,
    cached_tokens     INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    prefill_ms        INTEGER NOT NULL DEFAULT 0,
    decode_ms         INTEGER NOT NULL DEFAULT 0,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    UNIQUE (principal, dialogue, id),
    FOREIGN KEY (principal, dialogue) REFERENCES dialogues (principal, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX turns_in_order ON turns (principal, dialogue, position);

-- Words of turns, for SearchDialogues. The triggers keep it in step with the table that it indexes.
CREATE VIRTUAL TABLE turns_words USING fts5 (
    text, reply, content = 'turns', content_rowid = 'position', tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TRIGGER turns_words_insert AFTER INSERT ON turns BEGIN
    INSERT INTO turns_words (rowid, text, reply) VALUES (new.position, new.text, new.reply);
END;

CREATE TRIGGER turns_words_delete AFTER DELETE ON turns BEGIN
    INSERT INTO turns_words (turns_words, rowid, text, reply)
    VALUES ('delete', old.position, old.text, old.reply);
END;

CREATE TRIGGER turns_words_update AFTER UPDATE OF text, reply ON turns BEGIN
    INSERT INTO turns_words (turns_words, rowid, text, reply)
    VALUES ('delete', old.position, old.text, old.reply);
    INSERT INTO turns_words (rowid, text, reply) VALUES (new.position, new.text, new.reply);
END;
