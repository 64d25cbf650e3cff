-- Keys of messages in transit that may come again after they have left, see package gateway/spool. Times are
-- microseconds since 1970.

-- +goose Up
CREATE TABLE spool_remembered (
	key TEXT NOT NULL PRIMARY KEY,
	until BIGINT NOT NULL
);

CREATE INDEX spool_remembered_until ON spool_remembered (until);

-- +goose Down
DROP TABLE spool_remembered;
