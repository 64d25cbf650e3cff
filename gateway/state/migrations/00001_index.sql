-- What the index knows of folders, see package gateway/index. A folder has a row only when
-- there is something that cannot be derived from its list.

-- +goose Up
CREATE TABLE folders (
	key BYTEA NOT NULL PRIMARY KEY, -- of store, account and folder: 16 octets of their SHA-256
	store TEXT NOT NULL,
	account TEXT NOT NULL,
	folder TEXT NOT NULL,
	used BIGINT NOT NULL -- the day it was opened last, in days since 1970
);

-- Many messages to a row: a folder is read in one query, and a batch is written at once.
CREATE TABLE folder_parts (
	folder BYTEA NOT NULL REFERENCES folders (key) ON DELETE CASCADE,
	kind TEXT NOT NULL,
	batch BIGINT NOT NULL, -- later ones go before earlier ones
	made BIGINT NOT NULL, -- in seconds since 1970
	entries BYTEA NOT NULL,
	PRIMARY KEY (folder, kind, batch)
);

-- +goose Down
DROP TABLE folder_parts;
DROP TABLE folders;
