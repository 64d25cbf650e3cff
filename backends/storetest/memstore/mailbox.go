package memstore

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// account is a user and its mailbox. All of it is guarded by Store.mu.
type account struct {
	accountSettings
	folders map[string]*folder // by path; the inbox is ""
}

type folder struct {
	messages []*message // oldest first
}

// message does not change once it is in a folder.
type message struct {
	id       backends.MessageID
	data     []byte
	received time.Time
	seen     bool
}

const trash = "Trash"

func newAccount(s accountSettings) *account {
	a := &account{accountSettings: s, folders: map[string]*folder{"": {}}}
	for _, path := range s.Folders {
		a.folders[path] = &folder{}
	}
	return a
}

func (a *account) addresses() []string {
	if a.Address == "" {
		return a.Aliases
	}
	return append([]string{a.Address}, a.Aliases...)
}

func (a *account) public() backends.Account {
	return backends.Account{
		ID: strings.ToLower(a.User), Address: a.Address, Addresses: a.addresses(), DisplayName: a.DisplayName,
	}
}

// room says whether octets more fit into the quota.
func (a *account) room(octets int64) bool {
	used := octets
	for _, f := range a.folders {
		for _, m := range f.messages {
			used += int64(len(m.data))
		}
	}
	return a.Quota == 0 || used <= a.Quota
}

// find is the message's place in the folder, -1 when it is not there.
func (f *folder) find(id backends.MessageID) int {
	return slices.IndexFunc(f.messages, func(m *message) bool { return m.id == id })
}

// add files a message under a new id. The caller holds s.mu.
func (s *Store) add(f *folder, data []byte) backends.MessageID {
	id := s.newID()
	f.messages = append(f.messages, &message{id: id, data: data, received: s.now().UTC()})
	return id
}

// newID never gives the same id twice, not even to another process: a gateway remembers ids.
func (s *Store) newID() backends.MessageID {
	s.last++
	return backends.MessageID(fmt.Sprintf("%s-%d", s.instance, s.last))
}

func random(characters int) string { return strings.ToLower(rand.Text()[:characters]) }

// Put files a message (canonical form) into a user's folder, as another program would. An
// unknown user or folder gives [backends.NotFound].
func (s *Store) Put(user, path string, data []byte) (backends.MessageID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.folder(user, path)
	if err != nil {
		return "", err
	}
	return s.add(f, slices.Clone(data)), nil
}

// Messages are the contents of a user's folder, oldest first.
func (s *Store) Messages(user, path string) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.folder(user, path)
	if err != nil {
		return nil
	}
	var all [][]byte
	for _, m := range f.messages {
		all = append(all, slices.Clone(m.data))
	}
	return all
}

// folder finds a user's folder. The caller holds s.mu.
func (s *Store) folder(user, path string) (*folder, error) {
	if a := s.accounts[strings.ToLower(user)]; a != nil && a.folders[path] != nil {
		return a.folders[path], nil
	}
	return nil, backends.Fail(backends.NotFound, "user %q has no folder %q", user, path)
}
