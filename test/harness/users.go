//go:build linux

package harness

import (
	"strings"
	"testing"
)

// User is an account of a Maildir store.
type User struct {
	Address  string // the login name as well
	Password string
}

// AddUser makes an account in the first store, with the command that administrators use.
func (g *Gateway) AddUser(t *testing.T, name string) User {
	t.Helper()
	return g.AddUserIn(t, "mail", name+"@"+Domain)
}

// AddUserIn makes an account in the store that has this root, and waits for nothing: the store
// looks at its accounts when it needs them.
func (g *Gateway) AddUserIn(t *testing.T, root, address string) User {
	t.Helper()
	user := User{Address: address, Password: "open " + address} // a space, as passwords may have
	cmd := g.Command("maildir", "user", "add", "--root", root, address)
	cmd.Stdin = strings.NewReader(user.Password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("adding %s: %v\n%s", address, err, out)
	}
	return user
}
