package maildir

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
)

func TestChangedAccounts(t *testing.T) {
	const before = `accounts:
  - {address: same@sakes.example}
  - {address: password@sakes.example, password: "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Cmb/JHH6PMhk2BkcLTtKoXDcyrYbU7kDFdSvZTKxJvw"}
  - {address: rights@sakes.example}
  - {address: alias@sakes.example, aliases: [old@sakes.example]}
  - {address: disabled@sakes.example}
  - {address: gone@sakes.example}
`
	const after = `accounts:
  - {address: same@sakes.example, name: Another}
  - {address: password@sakes.example}
  - {address: rights@sakes.example, opens: [same@sakes.example]}
  - {address: alias@sakes.example, aliases: [new@sakes.example]}
  - {address: disabled@sakes.example, disabled: true}
  - {address: new-account@sakes.example}
`
	got := changedAccounts(parsed(t, before), parsed(t, after))
	slices.SortFunc(got, func(a, b backends.Hint) int { return cmp.Compare(a.Account, b.Account) })
	want := []backends.Hint{
		{Kind: backends.HintCredentials, Account: "alias@sakes.example"},
		{Kind: backends.HintAccount, Account: "disabled@sakes.example"},
		{Kind: backends.HintAccount, Account: "gone@sakes.example"},
		{Kind: backends.HintAccount, Account: "new-account@sakes.example"},
		{Kind: backends.HintCredentials, Account: "password@sakes.example"},
		{Kind: backends.HintCredentials, Account: "rights@sakes.example"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func parsed(t *testing.T, text string) *directory {
	t.Helper()
	d, err := parseAccounts([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lines takes what is logged.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// TestWatch: a file that is wrong is no change, and what somebody else has changed in it is told once it
// can be read again. The watch of a store that is closed ends.
func TestWatch(t *testing.T) {
	root := t.TempDir()
	write := func(text string) {
		writeFile(t, filepath.Join(root, "new"), text)
		if err := os.Rename(filepath.Join(root, "new"), filepath.Join(root, "accounts.yaml")); err != nil {
			t.Fatal(err)
		}
	}
	write("accounts: [{address: ada@sakes.example}]")
	logged := make(lines, 10)
	s := New(WithLogger(zerolog.New(logged)))
	if err := s.Configure(t.Context(), backends.Settings{Store: "s", Hostname: "h.example", Domains: []string{"sakes.example"}, BaseDir: root, Raw: []byte(`{"root": "."}`)}); err != nil {
		t.Fatal(err)
	}
	write("accounts: [")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	hints, ended := make(chan backends.Hint, 10), make(chan error, 1)
	go func() { ended <- s.Watch(ctx, func(h backends.Hint) { hints <- h }) }()
	select {
	case line := <-logged: // nobody looks but the watch
		if !strings.Contains(line, "cannot be used") {
			t.Fatal(line)
		}
	case <-ctx.Done():
		t.Fatal("a file that is wrong is not looked at")
	}
	write("accounts: [{address: ada@sakes.example, aliases: [countess@sakes.example]}]")
	select {
	case told := <-hints:
		if want := (backends.Hint{Kind: backends.HintCredentials, Account: "ada@sakes.example"}); told != want {
			t.Errorf("%+v", told)
		}
	case <-ctx.Done():
		t.Error("a change is not told")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Errorf("the watch of a closed store: %v", err)
	}
}
