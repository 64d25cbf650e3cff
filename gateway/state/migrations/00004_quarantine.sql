-- Messages that their stores cannot give, see package gateway/folder.

-- +goose Up
CREATE TABLE quarantine (
	number TEXT NOT NULL PRIMARY KEY, -- of store, account, folder and message: what people call it by
	store TEXT NOT NULL,
	account TEXT NOT NULL,
	folder TEXT NOT NULL,
	message BYTEA NOT NULL, -- the store's id
	uidl TEXT NOT NULL,
	state TEXT NOT NULL, -- suspected, held, hidden, released
	reason TEXT NOT NULL, -- for the mailbox's owner
	detail TEXT NOT NULL, -- for the administrator
	failures BIGINT NOT NULL,
	served BIGINT NOT NULL, -- how often a notice was given in its place
	first_failed BIGINT NOT NULL, -- in seconds since 1970
	last_failed BIGINT NOT NULL
);

CREATE INDEX quarantine_folders ON quarantine (store, account, folder);

-- +goose Down
DROP TABLE quarantine;
