package routing

// syncDir does nothing: Windows has no sync of a folder; NTFS journals names itself.
func syncDir(string) error { return nil }
