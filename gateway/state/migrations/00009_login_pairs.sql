-- Pairs of a client and an account that were used with success are kept by the client's single
-- address, and not by its network any more.

-- +goose Up
DELETE FROM login_failures WHERE key LIKE 'p n %';

-- +goose Down
DELETE FROM login_failures WHERE key LIKE 'p %';
