-- What the bot remembers. Times are whole seconds since 1970, as Discord's <t:...> takes them.

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: it names a folder
    guild_id INTEGER NOT NULL,
    admin_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    message_id INTEGER,
    name TEXT NOT NULL,
    base TEXT NOT NULL,
    base_id INTEGER, -- a model of the guild, even one deleted since; NULL for a shipped model
    source_name TEXT NOT NULL,
    source_channel_ids TEXT NOT NULL, -- JSON; none: the source is a file
    source_messages INTEGER NOT NULL,
    source_days INTEGER,
    counts TEXT, -- JSON: how much text was read
    estimate_s INTEGER, -- how long the training should take
    state TEXT NOT NULL CHECK (state IN ('reading', 'ready', 'queued', 'training', 'interrupted',
                                         'finished', 'failed', 'cancelled')),
    created_at INTEGER NOT NULL,
    queued_at INTEGER,
    ready_at INTEGER,
    ended_at INTEGER,
    ending TEXT, -- why there is no model, for people
    shown INTEGER NOT NULL DEFAULT FALSE, -- whether the end was shown; 2: the model changed since
    UNIQUE (guild_id, id)
) STRICT;
CREATE UNIQUE INDEX one_active_job ON jobs (guild_id)
    WHERE state IN ('reading', 'ready', 'queued', 'training');
CREATE INDEX jobs_to_follow ON jobs (shown) WHERE shown != 1 OR state = 'interrupted';
CREATE VIEW active_jobs AS
    SELECT * FROM jobs WHERE state IN ('reading', 'ready', 'queued', 'training');
CREATE VIEW unfinished_jobs AS
    SELECT * FROM jobs WHERE state IN ('reading', 'ready', 'queued', 'training', 'interrupted');

CREATE TABLE models (
    id INTEGER PRIMARY KEY, -- the id of the job that made the model
    guild_id INTEGER NOT NULL,
    name TEXT NOT NULL COLLATE NOCASE,
    created_at INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    nats_before REAL NOT NULL,
    nats_after REAL NOT NULL,
    characters INTEGER NOT NULL,
    longest_copied INTEGER NOT NULL,
    samples TEXT, -- JSON: what base and model write after the same words; NULL until written
    voice REAL, -- NULL if it could not be measured
    standard_error REAL NOT NULL, -- of nats_after - nats_before
    voice_error REAL, -- its standard error
    UNIQUE (guild_id, id),
    UNIQUE (guild_id, name),
    FOREIGN KEY (guild_id, id) REFERENCES jobs (guild_id, id) ON DELETE CASCADE
) STRICT;

-- Every "use it" of each guild, oldest first; the last one is in use. The key includes the guild,
-- so that no guild can use another's model.
CREATE TABLE activations (
    id INTEGER PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    model_id INTEGER NOT NULL,
    FOREIGN KEY (guild_id, model_id) REFERENCES models (guild_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX activations_of_guild ON activations (guild_id, id);
CREATE INDEX activations_of_model ON activations (guild_id, model_id);

CREATE VIEW stored_models AS
    SELECT models.*, base, source_name, source_channel_ids, source_messages, source_days,
           models.id IS (SELECT model_id FROM activations
                         WHERE activations.guild_id = models.guild_id
                         ORDER BY activations.id DESC LIMIT 1) AS in_use
    FROM models JOIN jobs ON jobs.id = models.id;

-- Whose messages a job, and so its model, learns from: the text's authors and its base's authors.
-- Not WITHOUT ROWID: quick_check of SQLite 3.40 reports such a table as damaged when its key is
-- not in the order of its columns.
CREATE TABLE authors (
    id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL,
    told INTEGER NOT NULL DEFAULT FALSE, -- whether the model's admins know that the user opted out
    PRIMARY KEY (user_id, id)
) STRICT;
CREATE INDEX authors_of_job ON authors (id);

-- The latest speed of training on this machine.
CREATE TABLE speeds (
    parameters INTEGER NOT NULL, -- of the base
    threads INTEGER NOT NULL,
    characters_per_second REAL NOT NULL,
    measuring_s REAL NOT NULL, -- after each epoch
    PRIMARY KEY (parameters, threads)
) STRICT;

CREATE TABLE opt_outs (
    user_id INTEGER PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;

CREATE TABLE removals (
    guild_id INTEGER PRIMARY KEY,
    removed_at INTEGER NOT NULL
) STRICT;

-- Whether messages that mention the bot are answered: in a channel, or in all others of the guild.
CREATE TABLE mentions (
    guild_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL, -- 0: all others
    answered INTEGER NOT NULL,
    PRIMARY KEY (guild_id, channel_id)
) STRICT;

-- What the bot never says in a guild.
CREATE TABLE words (
    guild_id INTEGER NOT NULL,
    word TEXT NOT NULL,
    PRIMARY KEY (guild_id, word)
) STRICT;
