-- By what key the gateway remembers a mailbox folder, see package gateway/folder.

-- +goose Up
CREATE TABLE mailbox_keys (
	store TEXT NOT NULL,
	key_account TEXT NOT NULL, -- as in leases, folders, quarantine and deletions
	key_folder TEXT NOT NULL,
	account TEXT NOT NULL, -- as the store names the account
	folder TEXT NOT NULL, -- as the store names the folder
	made BIGINT NOT NULL, -- in seconds since 1970
	PRIMARY KEY (store, key_account, key_folder),
	UNIQUE (store, account, folder)
);

-- The names by which clients have asked for it.
CREATE TABLE mailbox_names (
	store TEXT NOT NULL,
	key_account TEXT NOT NULL,
	key_folder TEXT NOT NULL,
	name TEXT NOT NULL,
	PRIMARY KEY (store, key_account, key_folder, name)
);

-- +goose Down
DROP TABLE mailbox_names;
DROP TABLE mailbox_keys;
