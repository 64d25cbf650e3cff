//go:build linux

package harness

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"
	"gopkg.in/yaml.v3"
)

// User is an account of a Maildir store.
type User struct {
	Address  string // the login name as well
	Password string
}

// AddUser makes an account in the first store.
func (g *Gateway) AddUser(t *testing.T, name string) User {
	t.Helper()
	return g.AddUserIn(t, "mail", name+"@"+Domain)
}

// accountsFile keeps tests that run side by side from writing to one file at the same time.
var accountsFile sync.Mutex

// AddUserIn makes an account in the store that has this root, and waits for nothing: the store
// looks at its accounts when it needs them. Its password's hash costs next to nothing, as tests log
// in a thousand times: "dipylon maildir user add" would make one that is meant to be expensive.
func (g *Gateway) AddUserIn(t *testing.T, root, address string) User {
	t.Helper()
	user := User{Address: address, Password: "open " + address} // a space, as passwords may have
	if !filepath.IsAbs(root) {
		root = filepath.Join(g.Dir, root)
	}
	if err := addAccount(filepath.Join(root, "accounts.yaml"), user); err != nil {
		t.Fatalf("adding %s: %v", address, err)
	}
	return user
}

// addAccount puts an account into an accounts file, as an administrator's editor would.
func addAccount(path string, user User) error {
	accountsFile.Lock()
	defer accountsFile.Unlock()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	var file struct {
		Accounts []Mapping `yaml:"accounts"`
	}
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		return err
	}
	file.Accounts = append(file.Accounts, Mapping{"address": user.Address, "password": cheapHash(user.Password)})
	var out bytes.Buffer
	in := yaml.NewEncoder(&out)
	in.SetIndent(2)
	if err := in.Encode(file); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", out.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// cheapHash is a password's hash with the least costs that Argon2id has (RFC 9106 §3.1), in the PHC
// string format.
func cheapHash(password string) string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails, crypto/rand says
	sum := argon2.IDKey([]byte(password), salt, 1, 8, 1, 32)
	in64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=8,t=1,p=1$%s$%s", in64(salt), in64(sum))
}
