// Package durable makes changes to folders outlast a power failure.
package durable

// SyncFolder makes the names in a folder durable: those that were added, and those that were
// removed. It is called once what the names stand for is on the disk. Windows syncs no folders,
// and nothing is done there.
func SyncFolder(path string) error { return syncFolder(path) }
