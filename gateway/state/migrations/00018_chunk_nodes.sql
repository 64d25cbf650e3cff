-- Which process writes the parts of a content, see package gateway/spool.

-- +goose Up
ALTER TABLE spool_chunks ADD COLUMN node TEXT NOT NULL DEFAULT ''; -- empty: one that did not say so yet, or a move

-- +goose Down
ALTER TABLE spool_chunks DROP COLUMN node;
