-- Which mail leaves by a process, see package gateway/spool: mail of the shards that it has leaves by no other.

-- +goose Up
ALTER TABLE spool_nodes ADD COLUMN leaves TEXT NOT NULL DEFAULT ''; -- empty: one that did not say so yet

-- +goose Down
ALTER TABLE spool_nodes DROP COLUMN leaves;
