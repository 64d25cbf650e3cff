-- What several gateways share through PostgreSQL. With SQLite there is one gateway, which has its
-- leases in its memory. Times are microseconds since 1970 by the database's clock.

-- +goose Up
CREATE TABLE leases (
	key BYTEA NOT NULL PRIMARY KEY,
	store TEXT NOT NULL,
	account TEXT NOT NULL,
	folder TEXT NOT NULL,
	node TEXT NOT NULL, -- which process has it
	generation BIGINT NOT NULL, -- grows each time the lease is taken
	expires BIGINT NOT NULL
);

CREATE INDEX leases_expires ON leases (expires);

CREATE TABLE login_failures (
	key TEXT NOT NULL PRIMARY KEY,
	failures DOUBLE PRECISION NOT NULL, -- as they were then; they decay
	familiar BOOLEAN NOT NULL,
	changed BIGINT NOT NULL
);

CREATE INDEX login_failures_changed ON login_failures (changed);

-- +goose Down
DROP TABLE login_failures;
DROP TABLE leases;
