package maildir

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

// TestWatch: a file that somebody else writes is seen, and one that is wrong is no change.
func TestWatch(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "accounts.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("accounts: [{address: ada@sakes.example}]")
	s := New()
	if err := s.Configure(t.Context(), backends.Settings{Store: "s", Hostname: "h.example", Domains: []string{"sakes.example"}, BaseDir: root, Raw: []byte(`{"root": "."}`)}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	hints, ended := make(chan backends.Hint, 10), make(chan error, 1)
	go func() { ended <- s.Watch(ctx, func(h backends.Hint) { hints <- h }) }()
	// Whether it watches already cannot be seen: the file changes until it is.
	told := backends.Hint{}
	for n := 0; told == (backends.Hint{}) && ctx.Err() == nil; n++ {
		write("accounts: [")
		write([]string{"accounts: [{address: ada@sakes.example, disabled: true}]", "accounts: [{address: ada@sakes.example}]"}[n%2])
		select {
		case told = <-hints:
		case <-time.After(2 * lookEvery):
		}
	}
	if want := (backends.Hint{Kind: backends.HintAccount, Account: "ada@sakes.example"}); told != want {
		t.Errorf("%+v", told)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Errorf("the watch of a closed store: %v", err)
	}
}
