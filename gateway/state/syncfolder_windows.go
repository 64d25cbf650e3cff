package state

// syncFolder does nothing: Windows has no sync of a folder; NTFS journals names itself.
func syncFolder(string) error { return nil }
