-- Application passwords of the gateway's own, see package gateway/passwords. Times are seconds
-- since 1970; 0 is never.

-- +goose Up
CREATE TABLE app_passwords (
	id TEXT NOT NULL PRIMARY KEY,
	store TEXT NOT NULL,
	account TEXT NOT NULL,
	label TEXT NOT NULL,
	hash TEXT NOT NULL, -- Argon2id
	stored_key BYTEA NOT NULL, -- of SCRAM-SHA-256
	server_key BYTEA NOT NULL,
	protocols TEXT NOT NULL, -- parted by blanks; empty: all
	networks TEXT NOT NULL, -- parted by blanks; empty: everywhere
	created BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	last_used BIGINT NOT NULL,
	last_from TEXT NOT NULL
);

CREATE INDEX app_passwords_account ON app_passwords (store, account);

-- What the nodes of one installation have in common, and nobody else may know.
CREATE TABLE installation_keys (
	name TEXT NOT NULL PRIMARY KEY,
	value BYTEA NOT NULL
);

-- +goose Down
DROP TABLE installation_keys;
DROP TABLE app_passwords;
