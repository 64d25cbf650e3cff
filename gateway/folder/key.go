package folder

import (
	"crypto/sha256"
	"encoding/binary"
)

// Key is what a folder is remembered and locked by.
type Key struct {
	Store   string
	Account string // as a rule backends.Account.ID
	Folder  string // empty: the inbox
}

// Hash is the key's form in the database where one of fixed length is wanted: 16 octets. Each
// part has its length before it, so that no two keys are written alike.
func (k Key) Hash() []byte {
	var text []byte
	for _, part := range []string{k.Store, k.Account, k.Folder} {
		text = binary.AppendUvarint(text, uint64(len(part)))
		text = append(text, part...)
	}
	sum := sha256.Sum256(text)
	return sum[:16]
}

// name is the folder for a log.
func (k Key) name() string {
	if k.Folder == "" {
		return "the inbox"
	}
	return k.Folder
}
