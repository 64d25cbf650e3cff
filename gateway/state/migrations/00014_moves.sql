-- That the database is being filled from another one, or was moved into one, see Move. At the most one row.

-- +goose Up
CREATE TABLE state_moves (
	id TEXT NOT NULL PRIMARY KEY, -- the same in both databases
	role TEXT NOT NULL, -- source, left; filling, filled
	other TEXT NOT NULL -- the other database's name
);

-- +goose Down
DROP TABLE state_moves;
