package maildir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/maildir"
)

// TestNoAccountsFile: where there is no accounts file, as on a disk that is not mounted, nobody is told that there is no such mailbox, or
// that a password is wrong. A file without accounts says that there are none.
func TestNoAccountsFile(t *testing.T) {
	root := t.TempDir()
	s := maildir.New()
	if err := s.Configure(t.Context(), backends.Settings{Raw: []byte(fmt.Sprintf(`{"root": %q}`, root))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	kinds := func(want backends.Kind, login backends.Kind) {
		t.Helper()
		verdicts, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To("ada@peer.example")})
		if err != nil || verdicts[0].Failure == nil || verdicts[0].Failure.Kind != want {
			t.Errorf("resolved: %+v, %v", verdicts, err)
		}
		verdicts, err = s.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To("ada@peer.example")}, strings.NewReader("a: b\r\n\r\n"))
		if err != nil || verdicts[0].Failure == nil || verdicts[0].Failure.Kind != want {
			t.Errorf("delivered: %+v, %v", verdicts, err)
		}
		_, err = s.Login(t.Context(), backends.Credential{Kind: backends.CredentialPassword, User: "ada@peer.example", Secret: []byte("x")})
		if backends.KindOf(err) != login {
			t.Errorf("login: %v", err)
		}
	}
	kinds(backends.Temporary, backends.Temporary)
	if err := os.WriteFile(filepath.Join(root, "accounts.yaml"), []byte("accounts: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kinds(backends.NotFound, backends.BadCredentials)
}
