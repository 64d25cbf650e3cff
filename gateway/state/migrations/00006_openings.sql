-- When maildrops were opened last, for LOGIN-DELAY among several gateways; with SQLite the one
-- gateway has it in its memory, and the table stays empty.

-- +goose Up
CREATE TABLE openings (
	key BYTEA NOT NULL PRIMARY KEY, -- as a lease's
	opened BIGINT NOT NULL -- in microseconds since 1970, by the database's clock
);

CREATE INDEX openings_opened ON openings (opened);

-- +goose Down
DROP TABLE openings;
