package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

func TestUsers(t *testing.T) {
	root := filepath.Join(t.TempDir(), "mail")
	if users, err := ListUsers(root); err != nil || len(users) != 0 {
		t.Fatalf("no file: %v, %v", users, err)
	}
	if err := AddUser(root, "Anna@Sakes.example", []byte(secret), User{
		Name: "Anna: Sakes", Aliases: []string{"info@sakes.example", "@other.example"}, SendAs: []string{"sales@sakes.example"}, Opens: []string{ben}, Quota: 1 << 20,
	}); err != nil {
		t.Fatal(err)
	}
	if err := AddUser(root, ben, []byte(secret), User{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	users, err := ListUsers(root)
	if err != nil || len(users) != 2 {
		t.Fatalf("%+v, %v", users, err)
	}
	if a := users[0]; a.Address != anna || a.Name != "Anna: Sakes" || !slices.Equal(a.Aliases, []string{"info@sakes.example", "@other.example"}) ||
		!slices.Equal(a.SendAs, []string{"sales@sakes.example"}) || !slices.Equal(a.Opens, []string{ben}) || a.Quota != 1<<20 || a.Disabled || !a.HasPassword {
		t.Errorf("%+v", a)
	}
	if b := users[1]; b.Address != ben || !b.Disabled {
		t.Errorf("%+v", b)
	}
	for _, path := range []string{"accounts.yaml", "sakes.example/anna/new", "sakes.example/anna"} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	w := openWorld(t, root, nil)
	if _, err := w.Login(t.Context(), password(anna)); err != nil {
		t.Errorf("Login with the usual costs: %v", err)
	}
	if err := SetPassword(root, "ANNA@sakes.example", []byte("another")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Login(t.Context(), password(anna)); backends.KindOf(err) != backends.BadCredentials {
		t.Errorf("the old password: %v", err)
	}
	if err := RemoveUser(root, ben); err != nil {
		t.Fatal(err)
	}
	if users, _ := ListUsers(root); len(users) != 1 {
		t.Errorf("%+v", users)
	}
	if _, err := os.Stat(filepath.Join(root, "sakes.example/ben/new")); err != nil {
		t.Errorf("the mail of an account that was removed: %v", err)
	}
}

func TestUserErrors(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "accounts.yaml"), accountsText())
	for _, c := range []struct {
		name string
		err  error
		want error
		tell string
	}{
		{"an account that is there", AddUser(root, anna, []byte("x"), User{}), ErrUserExists, "line 3"},
		{"an alias of another", AddUser(root, "info@sakes.example", []byte("x"), User{}), ErrUserExists, ""},
		{"an alias that is taken", AddUser(root, "new@sakes.example", []byte("x"), User{Aliases: []string{ben}}), ErrUserExists, ben},
		{"a domain that is taken", AddUser(root, "new@sakes.example", []byte("x"), User{Aliases: []string{"@other.example"}}), ErrUserExists, ""},
		{"a bad alias", AddUser(root, "new@sakes.example", []byte("x"), User{Aliases: []string{"what?"}}), nil, "no address"},
		{"no address", AddUser(root, "new", []byte("x"), User{}), errNoAt, "no address"},
		{"no password", AddUser(root, "new@sakes.example", nil, User{}), ErrPassword, ""},
		{"no new password", SetPassword(root, anna, nil), ErrPassword, ""},
		{"a password for nobody", SetPassword(root, "new@sakes.example", []byte("x")), ErrNoUser, "add it first"},
		{"a password for an alias", SetPassword(root, "info@sakes.example", []byte("x")), ErrNoUser, anna},
		{"removing nobody", RemoveUser(root, "new@sakes.example"), ErrNoUser, ""},
	} {
		if c.err == nil || c.want != nil && !errors.Is(c.err, c.want) || !strings.Contains(c.err.Error(), c.tell) {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(root, "accounts.yaml")); !strings.Contains(string(text), "# the office") {
		t.Error("the comment is gone")
	}
	writeFile(t, filepath.Join(root, "accounts.yaml"), "accounts: [\n")
	if err := AddUser(root, anna, []byte("x"), User{}); err == nil || !strings.Contains(err.Error(), "put right first") {
		t.Errorf("a bad file: %v", err)
	}
	if text, _ := os.ReadFile(filepath.Join(root, "accounts.yaml")); string(text) != "accounts: [\n" {
		t.Errorf("a bad file was changed to %q", text)
	}
}

// TestCommentsStay edits a file as a person would have written it.
func TestCommentsStay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "people")
	hash := cheapHash(secret)
	writeFile(t, path, `# top

accounts:
  # the boss
  - address: Anna@sakes.example # with a capital
    password: `+hash+` # set in May
    name: "Anna"

  # her son
  - {address: ben@sakes.example, password: '`+hash+`'}
`)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	u := Users{Root: filepath.Join(dir, "mail"), Accounts: link}
	if err := u.SetPassword(t.Context(), anna, []byte("another")); err != nil {
		t.Fatal(err)
	}
	if err := u.Add(t.Context(), User{Address: cyrus}, []byte("third")); err != nil {
		t.Fatal(err)
	}
	if err := u.Remove(t.Context(), ben); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	for _, want := range []string{"# top", "# the boss", "address: Anna@sakes.example # with a capital", "# set in May", `name: "Anna"`, "address: " + cyrus} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is gone from\n%s", want, text)
		}
	}
	if strings.Contains(string(text), hash) || strings.Contains(string(text), "ben@") {
		t.Errorf("left:\n%s", text)
	}
	if info, _ := os.Lstat(link); info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced by a file")
	}
	for name, before := range map[string]string{"empty": "", "comments": "# only this\n", "null": "accounts:\n", "flow": "accounts: []\n"} {
		writeFile(t, path, before)
		if err := u.Add(t.Context(), User{Address: anna}, []byte("x")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text, _ := os.ReadFile(path); !strings.Contains(string(text), "\n  - address: "+anna) || !strings.HasPrefix(string(text), strings.TrimSuffix(before, ": []\n")) {
			t.Errorf("%s: it is now\n%s", name, text)
		}
	}
}

// TestUsersInManyProcesses adds accounts in processes at once; none is lost.
func TestUsersInManyProcesses(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if out, err := helper("adduser", root, fmt.Sprintf("user%d", i)).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	if users, err := ListUsers(root); err != nil || len(users) != 12 {
		t.Errorf("%d accounts, %v", len(users), err)
	}
}

// helper is this test binary as another process.
func helper(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "MAILDIR_TEST_HELPER="+args[0])
	return cmd
}

// addUsers is what the processes of TestUsersInManyProcesses do.
func addUsers(root, name string) error {
	for i := range 3 {
		if err := AddUser(root, fmt.Sprintf("%s.%d@sakes.example", name, i), []byte("x"), User{}); err != nil {
			return err
		}
	}
	return nil
}

func TestChangeWaitsForItsTurn(t *testing.T) {
	root := t.TempDir()
	unlock, err := lockFile(t.Context(), filepath.Join(root, "accounts.yaml.lock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := (Users{Root: root}).Add(ctx, User{Address: anna}, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another process holds the lock: %v", err)
	}
	unlock()
	if err := (Users{Root: root}).Add(t.Context(), User{Address: anna}, []byte("x")); err != nil {
		t.Error(err)
	}
}

// TestReplaceFileFaults makes every step of writing the accounts file fail: the old content
// stays, or the new one is there.
func TestReplaceFileFaults(t *testing.T) {
	broken := errors.New("broken")
	for n := 1; ; n++ {
		path := filepath.Join(t.TempDir(), "accounts.yaml")
		writeFile(t, path, "old")
		faulty := &faultyDisk{fail: func(step int, _, _ string) error {
			if step == n {
				return broken
			}
			return nil
		}}
		err := replaceFile(faulty, path, []byte("new"))
		text, _ := os.ReadFile(path)
		switch {
		case err == nil && faulty.steps < n:
			if string(text) != "new" || n < 6 {
				t.Errorf("without a fault, after %d steps: %q", n, text)
			}
			return
		case err == nil:
			t.Errorf("step %d (%s) fails, and nothing is told", n, faulty.last)
		case string(text) != "old" && faulty.last != "syncdir":
			t.Errorf("step %d (%s) fails, and the file is %q", n, faulty.last, text)
		}
		if left, _ := filepath.Glob(path + ".tmp*"); len(left) > 0 && faulty.last != "remove" {
			t.Errorf("step %d (%s) fails, and leaves %v", n, faulty.last, left)
		}
	}
}

// TestOwner shows that what root makes for a service belongs to the service.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: nothing to adopt")
		return
	}
	root := filepath.Join(t.TempDir(), "mail")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(root, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	if err := AddUser(root, anna, []byte("x"), User{}); err != nil {
		t.Fatal(err)
	}
	if err := SetPassword(root, anna, []byte("y")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"accounts.yaml", "accounts.yaml.lock", "sakes.example", "sakes.example/anna", "sakes.example/anna/cur"} {
		if uid, gid := ownerIDs(t, filepath.Join(root, path)); uid != 4711 || gid != 4712 {
			t.Errorf("%s belongs to %d:%d", path, uid, gid)
		}
	}
}
