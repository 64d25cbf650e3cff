package tempfolder

import "io/fs"

// mine: each user has a folder for temporary files that others cannot write to.
func mine(_, _ fs.FileInfo) bool { return true }
