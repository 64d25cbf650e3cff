-- Mail in transit, see package gateway/spool. Times are microseconds since 1970.

-- +goose Up
CREATE TABLE spool_messages (
	id BIGINT NOT NULL PRIMARY KEY, -- grows with time
	key TEXT NOT NULL UNIQUE, -- under which stores know the message
	envelope TEXT NOT NULL, -- JSON: the parameters of MAIL, who brought it, the trace
	received BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	size BIGINT NOT NULL, -- octets of the content
	recipients BIGINT NOT NULL, -- how many there were
	place BIGINT NOT NULL, -- 0: content is in body, 1: in the file of the id's name, 2: in spool_chunks
	body BYTEA
);

-- Contents that have to be looked for elsewhere when what was left behind is swept.
CREATE INDEX spool_messages_elsewhere ON spool_messages (place, id) WHERE place > 0;

CREATE TABLE spool_recipients (
	message BIGINT NOT NULL,
	number BIGINT NOT NULL, -- from 0, in the order of RCPT
	address TEXT NOT NULL,
	parameters TEXT NOT NULL, -- JSON: NOTIFY and ORCPT; empty: neither
	destination TEXT NOT NULL,
	shard BIGINT NOT NULL, -- of the destination
	rank BIGINT NOT NULL, -- 0 is the highest priority (9), 18 the lowest (-9)
	state BIGINT NOT NULL, -- 0 waiting, 1 in flight, 2 delivered, 3 failed, 4 uncertain, 5 held
	due BIGINT, -- when it may be tried; NULL: it may not (in flight, held, finished)
	epoch BIGINT, -- of the shard's lease under which it is in flight; NULL: it is not
	attempts BIGINT NOT NULL,
	outcome TEXT NOT NULL, -- JSON: of the last attempt; empty: there was none
	PRIMARY KEY (message, number)
);

-- What is due, by destination, the highest priority first, and in each what has waited longest.
CREATE INDEX spool_recipients_due ON spool_recipients (destination, rank, due, message) WHERE due IS NOT NULL;
-- What a lease that has ended leaves behind.
CREATE INDEX spool_recipients_in_flight ON spool_recipients (shard, epoch) WHERE epoch IS NOT NULL;

-- A destination has a row while it has mail that may be tried, now or later.
CREATE TABLE spool_destinations (
	destination TEXT NOT NULL PRIMARY KEY,
	shard BIGINT NOT NULL,
	due BIGINT NOT NULL, -- when to look: never later than its earliest mail, unless it is backed off
	until BIGINT NOT NULL -- it is backed off until then; 0: it is not; negative: when an administrator has ended that
);

CREATE INDEX spool_destinations_due ON spool_destinations (due, destination);

-- Who works on the destinations of a shard.
CREATE TABLE spool_shards (
	shard BIGINT NOT NULL PRIMARY KEY,
	node TEXT NOT NULL, -- which process; empty: none
	epoch BIGINT NOT NULL -- grows each time the shard is taken
);

INSERT INTO spool_shards (shard, node, epoch) VALUES
	(0, '', 0), (1, '', 0), (2, '', 0), (3, '', 0), (4, '', 0), (5, '', 0), (6, '', 0), (7, '', 0),
	(8, '', 0), (9, '', 0), (10, '', 0), (11, '', 0), (12, '', 0), (13, '', 0), (14, '', 0), (15, '', 0),
	(16, '', 0), (17, '', 0), (18, '', 0), (19, '', 0), (20, '', 0), (21, '', 0), (22, '', 0), (23, '', 0),
	(24, '', 0), (25, '', 0), (26, '', 0), (27, '', 0), (28, '', 0), (29, '', 0), (30, '', 0), (31, '', 0),
	(32, '', 0), (33, '', 0), (34, '', 0), (35, '', 0), (36, '', 0), (37, '', 0), (38, '', 0), (39, '', 0),
	(40, '', 0), (41, '', 0), (42, '', 0), (43, '', 0), (44, '', 0), (45, '', 0), (46, '', 0), (47, '', 0),
	(48, '', 0), (49, '', 0), (50, '', 0), (51, '', 0), (52, '', 0), (53, '', 0), (54, '', 0), (55, '', 0),
	(56, '', 0), (57, '', 0), (58, '', 0), (59, '', 0), (60, '', 0), (61, '', 0), (62, '', 0), (63, '', 0);

-- Which processes there are to share the shards out to. A shard whose node has no row is free.
CREATE TABLE spool_nodes (
	node TEXT NOT NULL PRIMARY KEY,
	until BIGINT NOT NULL -- by the database's clock
);

-- Large contents in PostgreSQL, in parts, written before their messages.
CREATE TABLE spool_chunks (
	message BIGINT NOT NULL,
	number BIGINT NOT NULL,
	content BYTEA NOT NULL,
	PRIMARY KEY (message, number)
);

-- +goose Down
DROP TABLE spool_chunks;
DROP TABLE spool_nodes;
DROP TABLE spool_shards;
DROP TABLE spool_destinations;
DROP TABLE spool_recipients;
DROP TABLE spool_messages;
