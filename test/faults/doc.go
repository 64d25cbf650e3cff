//go:build linux

// Package faults shows that no acknowledged mail is lost: the real gateway runs on a file system whose power is
// cut, is killed, meets full and failing disks and broken next hops, while ledgers that know nothing of that
// are kept. README.md has the method.
package faults
