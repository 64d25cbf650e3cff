-- Messages that clients have deleted and that are kept for a time, see package gateway/folder.

-- +goose Up
CREATE TABLE deletions (
	store TEXT NOT NULL,
	account TEXT NOT NULL,
	folder TEXT NOT NULL, -- as locks name it
	message BYTEA NOT NULL, -- the store's id
	owner TEXT NOT NULL, -- whom to act for
	path TEXT NOT NULL, -- the folder as the store knows it
	deleted BIGINT NOT NULL, -- in seconds since 1970
	due BIGINT NOT NULL, -- when it is to be removed
	PRIMARY KEY (store, account, folder, message)
);

CREATE INDEX deletions_due ON deletions (due);

-- +goose Down
DROP TABLE deletions;
