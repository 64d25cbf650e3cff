package maildir

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// folderID is a folder's identity: its name on the disk, whatever name it was opened by. A folder
// can have several: in modified UTF-7 and in UTF-8, by a symbolic link, and, where the file system
// does not tell letters of any case apart, all spellings.
func (b *box) folderID(dir string) (string, error) {
	box, err := filepath.EvalSymlinks(b.dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if real == box {
		return "INBOX", nil
	}
	if real, err = b.spelled(real); err != nil {
		return "", err
	}
	name := real // of another place, to which a link leads
	if filepath.Dir(real) == box {
		name = filepath.Base(real)
	}
	quoted := strconv.QuoteToASCII(name)
	if quoted = quoted[1 : len(quoted)-1]; len(quoted) > idMost {
		sum := sha256.Sum256([]byte(name))
		return hex.EncodeToString(sum[:]), nil
	}
	return quoted, nil
}

// idMost bounds a folder's id, by the contract.
const idMost = 1024

// spelled is a folder's path with its name as the disk has it.
func (b *box) spelled(dir string) (string, error) {
	parent, base := filepath.Split(dir)
	names, err := b.disk.Names(parent)
	if err != nil || slices.Contains(names, base) {
		return dir, err
	}
	info, err := b.disk.Lstat(dir)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if other, err := b.disk.Lstat(filepath.Join(parent, name)); err == nil && os.SameFile(info, other) {
			return filepath.Join(parent, name), nil
		}
	}
	return dir, nil
}
