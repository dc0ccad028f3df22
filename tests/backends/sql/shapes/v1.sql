-- A store of version 1, with rows: what every later version must open. Never changed.
BEGIN;
CREATE TABLE sessions (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    folded_name TEXT NOT NULL,       -- for finding a part of it in any case
    type TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    place INTEGER NOT NULL,          -- 0 listed, 1 archived, 2 deleted
    created_at INTEGER NOT NULL,     -- every time: microseconds since 1970, UTC
    updated_at INTEGER NOT NULL,
    archived_at INTEGER,
    purge_at INTEGER,                -- of a deleted one: until when it can be restored
    version INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    run_count INTEGER NOT NULL,
    summary TEXT NOT NULL,
    metadata TEXT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX sessions_updated ON sessions (place, updated_at, key);
CREATE INDEX sessions_created ON sessions (place, created_at, key);
CREATE INDEX sessions_user_updated ON sessions (user_id, place, updated_at, key);
CREATE INDEX sessions_user_created ON sessions (user_id, place, created_at, key);
CREATE INDEX sessions_agent_updated ON sessions (agent_id, place, updated_at, key);
CREATE INDEX sessions_purge ON sessions (purge_at) WHERE purge_at IS NOT NULL;
CREATE TABLE messages (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    session_key INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
    number INTEGER NOT NULL,         -- 1, 2, 3 … within its session
    run INTEGER NOT NULL,            -- never falls as number rises
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    tool_name TEXT NOT NULL,
    tool_calls TEXT NOT NULL,
    attachments TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE UNIQUE INDEX messages_number ON messages (session_key, number);
CREATE INDEX messages_run ON messages (session_key, run);
CREATE TABLE purged_ids (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE VIRTUAL TABLE name_index USING fts5 (
    owner, words, prefix = '2 3', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
);
CREATE VIRTUAL TABLE message_index USING fts5 (
    owner, words, prefix = '2 3', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
);
INSERT INTO sessions (key, id, name, folded_name, type, agent_id, user_id, place, created_at, updated_at, archived_at, purge_at, version, message_count, run_count, summary, metadata, state)
VALUES (1, 'romee234', 'Trip to Rome', 'trip to rome', 'agent', 'planner', 'ann', 0, 1714564801000000, 1714564901000000, NULL, NULL, 4, 5, 2, 'They asked for the weather.', '{"source":"web"}', '{"step":3,"plan":["fly",null],"ratio":0.1}');
INSERT INTO sessions (key, id, name, folded_name, type, agent_id, user_id, place, created_at, updated_at, archived_at, purge_at, version, message_count, run_count, summary, metadata, state)
VALUES (2, 'teamm234', '', '', 'team', '', '', 0, 1714564802000000, 1714564902000000, NULL, NULL, 1, 0, 0, '', '{}', '{}');
INSERT INTO sessions (key, id, name, folded_name, type, agent_id, user_id, place, created_at, updated_at, archived_at, purge_at, version, message_count, run_count, summary, metadata, state)
VALUES (3, 'awayy234', 'Put away', 'put away', 'workflow', '', '', 1, 1714564803000000, 1714564903000000, 1714564903000000, NULL, 2, 0, 0, '', '{}', '{}');
INSERT INTO sessions (key, id, name, folded_name, type, agent_id, user_id, place, created_at, updated_at, archived_at, purge_at, version, message_count, run_count, summary, metadata, state)
VALUES (4, 'throw234', 'Thrown away', 'thrown away', 'agent', '', '', 2, 1714564804000000, 1714564904000000, NULL, 32503680000000000, 3, 1, 1, '', '{}', '{}');
INSERT INTO messages (key, session_key, number, run, role, created_at, tool_name, tool_calls, attachments, text)
VALUES (1, 1, 1, 1, 'user', 1714564801000000, '', '', '', 'What is the weather in Rome?');
INSERT INTO messages (key, session_key, number, run, role, created_at, tool_name, tool_calls, attachments, text)
VALUES (2, 1, 2, 1, 'assistant', 1714564802000000, '', '[{"id":"c1","name":"get_weather","arguments":"{\"city\":\"Rome\"}"}]', '', '');
INSERT INTO messages (key, session_key, number, run, role, created_at, tool_name, tool_calls, attachments, text)
VALUES (3, 1, 3, 1, 'tool', 1714564803000000, 'get_weather', '', '', '22 degrees');
INSERT INTO messages (key, session_key, number, run, role, created_at, tool_name, tool_calls, attachments, text)
VALUES (4, 1, 4, 1, 'assistant', 1714564804000000, '', '', '', 'It is 22 degrees in Rome.');
INSERT INTO messages (key, session_key, number, run, role, created_at, tool_name, tool_calls, attachments, text)
VALUES (5, 1, 5, 2, 'user', 1714564805000000, '', '', '[{"type":"image","media_type":"image/png","url":"https://example.org/map.png","bytes":null}]', 'And here? It''s «Größe», 東京.');
INSERT INTO messages (key, session_key, number, run, role, created_at, tool_name, tool_calls, attachments, text)
VALUES (6, 4, 1, 1, 'system', 1714564806000000, '', '', '', 'Be brief.');
INSERT INTO purged_ids (id)
VALUES ('purged23');
INSERT INTO name_index (rowid, owner, words)
VALUES (1, 'u8d3adf6abf23f3a5', 'Trip to Rome');
INSERT INTO name_index (rowid, owner, words)
VALUES (3, '', 'Put away');
INSERT INTO name_index (rowid, owner, words)
VALUES (4, '', 'Thrown away');
INSERT INTO message_index (rowid, owner, words)
VALUES (1, 'u8d3adf6abf23f3a5', 'What is the weather in Rome?');
INSERT INTO message_index (rowid, owner, words)
VALUES (2, 'u8d3adf6abf23f3a5', '');
INSERT INTO message_index (rowid, owner, words)
VALUES (3, 'u8d3adf6abf23f3a5', '22 degrees');
INSERT INTO message_index (rowid, owner, words)
VALUES (4, 'u8d3adf6abf23f3a5', 'It is 22 degrees in Rome.');
INSERT INTO message_index (rowid, owner, words)
VALUES (5, 'u8d3adf6abf23f3a5', 'and here? it''s «grosse»,  東  京 .');
INSERT INTO message_index (rowid, owner, words)
VALUES (6, '', 'Be brief.');
PRAGMA application_id = 1835233395;
PRAGMA user_version = 1;
COMMIT;
