-- Whose application passwords are: the store's id of the account; empty until it is known.

-- +goose Up
ALTER TABLE app_passwords ADD COLUMN owner TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE app_passwords DROP COLUMN owner;
