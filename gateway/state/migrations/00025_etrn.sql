-- Servers elsewhere that are asked for the mail that they keep, see package gateway/asking. Times are microseconds since 1970.

-- +goose Up
CREATE TABLE etrn_servers (
	name TEXT NOT NULL PRIMARY KEY,
	asked BIGINT NOT NULL, -- 0: never
	well BIGINT NOT NULL, -- when that last went well; 0: never
	failures BIGINT NOT NULL, -- in a row
	reason TEXT NOT NULL -- of the last one; empty: there was none
);

-- +goose Down
DROP TABLE etrn_servers;
