-- Messages whose delivery was begun and answered with 4xx, see gateway/routing. Times are
-- microseconds since 1970.

-- +goose Up
CREATE TABLE deliveries (
	key TEXT NOT NULL PRIMARY KEY, -- under which stores know the message
	fingerprint TEXT NOT NULL, -- of what the client has sent
	attempt TEXT NOT NULL, -- JSON: when it was first seen, and who has, or may have, a copy
	written BIGINT NOT NULL,
	taken BIGINT NOT NULL -- until when a transaction has it; 0: nobody has it
);

CREATE INDEX deliveries_fingerprint ON deliveries (fingerprint, written);
CREATE INDEX deliveries_written ON deliveries (written);

-- +goose Down
DROP TABLE deliveries;
