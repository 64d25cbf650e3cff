-- How many recipients a destination has got in an hour, where its route bounds those of a day, see package
-- gateway/quota.

-- +goose Up
CREATE TABLE quota (
	destination TEXT NOT NULL,
	hour BIGINT NOT NULL, -- since 1970
	recipients BIGINT NOT NULL,
	PRIMARY KEY (destination, hour)
);

CREATE INDEX quota_hour ON quota (hour);

-- +goose Down
DROP TABLE quota;
