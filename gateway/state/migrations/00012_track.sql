-- What became of messages, see package gateway/track. Times are microseconds since 1970. Events lie in batches: one
-- index entry for each name of each event would cost more than all else that is done with a message.

-- +goose Up
CREATE TABLE track (
	first BIGINT NOT NULL, -- when the first event of the batch was logged
	node TEXT NOT NULL, -- by which gateway
	last BIGINT NOT NULL,
	names BYTEA NOT NULL, -- 32 bits of a hash of each name in the events, big-endian, sorted
	PRIMARY KEY (first, node)
);

CREATE TABLE track_events (
	first BIGINT NOT NULL,
	node TEXT NOT NULL,
	events BYTEA NOT NULL, -- deflated: of each event the time, a blank, and its line
	PRIMARY KEY (first, node)
);

-- +goose Down
DROP TABLE track_events;
DROP TABLE track;
