-- When the mail of a destination was last to be tried at once, as somebody has asked for it (ETRN, or an administrator), see package
-- gateway/spool. Times are microseconds since 1970, by the spool's clock.

-- +goose Up
CREATE TABLE spool_asked (
	destination TEXT NOT NULL PRIMARY KEY,
	at BIGINT NOT NULL
);

CREATE INDEX spool_asked_at ON spool_asked (at);

-- +goose Down
DROP TABLE spool_asked;
