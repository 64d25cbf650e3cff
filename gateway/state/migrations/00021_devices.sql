-- Devices, see package gateway/devices: what is an application password to the login, and more than that to whoever takes
-- its mail. Times are seconds since 1970; 0 is never.

-- +goose Up
ALTER TABLE app_passwords ADD COLUMN device TEXT NOT NULL DEFAULT ''; -- whose it is; empty: a person's
ALTER TABLE app_passwords ADD COLUMN disabled BIGINT NOT NULL DEFAULT 0; -- 1: it is good for nothing
ALTER TABLE app_passwords ADD COLUMN legacy BIGINT NOT NULL DEFAULT 0; -- 1: it may be used without TLS, or with an old one

CREATE TABLE devices (
	name TEXT NOT NULL PRIMARY KEY,
	password TEXT NOT NULL, -- app_passwords.id; its hash is empty where the device has no password
	settings TEXT NOT NULL, -- JSON: where it stands, whose it is, how it proves itself, what it may send
	last_error TEXT NOT NULL,
	last_error_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX devices_password ON devices (password);

-- One row, once there was a change: its version says to every process whether what it knows of devices is still so.
CREATE TABLE device_changes (
	one BIGINT NOT NULL PRIMARY KEY,
	version BIGINT NOT NULL
);

-- +goose Down
DROP TABLE device_changes;
DROP TABLE devices;
DELETE FROM app_passwords WHERE device <> '';
ALTER TABLE app_passwords DROP COLUMN legacy;
ALTER TABLE app_passwords DROP COLUMN disabled;
ALTER TABLE app_passwords DROP COLUMN device;
