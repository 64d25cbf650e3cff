-- What stores, routes and accounts keep for all gateways, see package gateway/vault. Secrets in it are encrypted by whoever
-- puts them. Times are microseconds since 1970, by PostgreSQL's clock, or with SQLite by the machine's.

-- +goose Up
CREATE TABLE vault (
	owner TEXT NOT NULL, -- "store sakes", "route provider", "collect office"
	name TEXT NOT NULL,
	value BYTEA NOT NULL, -- empty: only a lease was taken so far
	version BIGINT NOT NULL, -- grows with each change, and is never used again for the same name; 0: there was none
	changed BIGINT NOT NULL,
	expires BIGINT NOT NULL, -- 0: never
	holder TEXT NOT NULL, -- who has the lease; empty: nobody
	until BIGINT NOT NULL, -- when the lease is over
	PRIMARY KEY (owner, name)
);

CREATE INDEX vault_expires ON vault (expires);

-- +goose Down
DROP TABLE vault;
