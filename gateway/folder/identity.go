package folder

import (
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/fold"
)

// Identity is what a store says of a folder that it has opened.
type Identity struct {
	Store   string
	Account string // backends.Account.ID
	Folder  string // backends.Opened.FolderID; empty: the store does not say it, against the rule
	// FormerIDs are the account's, see backends.Account.
	FormerIDs []string
	// Name is the folder as it was asked for; empty: the inbox.
	Name string
}

// Known is what is known of a folder's identity.
type Known struct {
	Key
	// Names are those by which it was asked for before. What was remembered under others is not
	// its own. None: all are.
	Names []string
}

// unsaid begins the identity of a folder whose store does not say it: no id begins so, for a line
// end cannot be printed.
const unsaid = "\n"

// folder is the folder's identity inside its account. Where the store does not say it, the name
// stands for it as it is: to take two folders for one would mean that what is deleted in one is
// removed from the other.
func (i *Identity) folder() string {
	if i.Folder == "" {
		return unsaid + i.Name
	}
	return i.Folder
}

// accounts are the ids that the account has, or had.
func (i *Identity) accounts() []string {
	ids := []string{i.Account}
	for _, id := range i.FormerIDs {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// former are the keys that earlier versions had for the folder by this name.
func (i *Identity) former() []Key {
	var keys []Key
	for _, id := range i.accounts() {
		keys = append(keys, Key{i.Store, id, strings.ToLower(i.Name)}) // as it was done then
	}
	return keys
}

// Lock is the key under which the folder is locked. Where a store does not say what the folder
// is, names that differ in case share a lock: it may be one folder.
func (i *Identity) Lock(known Known) Key {
	if i.Folder == "" {
		return Key{i.Store, i.Account, fold.Lower(i.Name)}
	}
	return known.Key
}
