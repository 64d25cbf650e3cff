-- What was collected from mail servers elsewhere, see package gateway/collect.

-- +goose Up
CREATE TABLE collect_messages (
	account TEXT NOT NULL,
	id TEXT NOT NULL, -- the server's unique-id, or one that is made of the content
	state TEXT NOT NULL, -- begun, taken, aside
	size BIGINT NOT NULL, -- as the server says
	digest BYTEA NOT NULL, -- of the content in canonical form, SHA-256; empty: not known
	header BYTEA NOT NULL, -- likewise, of its header
	first BIGINT NOT NULL, -- when it was first read, in microseconds since 1970, as all times here
	taken BIGINT NOT NULL, -- when its recipients had it; 0: not yet
	gone BIGINT NOT NULL, -- when the server had it no more; 0: it has it
	tries BIGINT NOT NULL,
	due BIGINT NOT NULL, -- when one that is set aside is tried again
	key TEXT NOT NULL, -- under which its recipients' stores are given it
	delivered TEXT NOT NULL, -- the recipients that have it, a JSON list
	reason TEXT NOT NULL, -- why it is set aside
	PRIMARY KEY (account, id)
);

CREATE INDEX collect_messages_gone ON collect_messages (gone);

CREATE TABLE collect_accounts (
	account TEXT NOT NULL PRIMARY KEY,
	status TEXT NOT NULL -- JSON
);

CREATE TABLE collect_seen (
	account TEXT NOT NULL,
	message BYTEA NOT NULL, -- of its Message-ID and its recipients
	times BIGINT NOT NULL,
	first BIGINT NOT NULL,
	PRIMARY KEY (account, message)
);

CREATE INDEX collect_seen_first ON collect_seen (first);

-- +goose Down
DROP TABLE collect_seen;
DROP TABLE collect_accounts;
DROP TABLE collect_messages;
