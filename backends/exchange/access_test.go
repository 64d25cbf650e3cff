package exchange_test

import (
	"errors"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
	double "github.com/dipylon/dipylon/test/exchange"
)

// by is a login of george's to the mailbox of another.
func by(mailbox string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialPassword, User: george, Secret: []byte("george-secret"), ActAs: mailbox}
}

// subjects opens a folder, and reads the subjects of what it has.
func subjects(t *testing.T, store *exchange.Store, request backends.OpenRequest) (all []string, opened backends.Opened, err error) {
	t.Helper()
	m, err := store.Open(t.Context(), request)
	if err != nil {
		return nil, opened, err
	}
	defer m.Close()
	for e, err := range m.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := m.Fetch(t.Context(), backends.FetchRequest{ID: e.ID})
		if err != nil {
			t.Fatal(err)
		}
		message, err := mail.ReadMessage(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, message.Header.Get("Subject"))
		_ = c.Close()
	}
	return all, m.Opened(), nil
}

// TestAnothersMailbox: the server says whose mailbox is whose to open.
func TestAnothersMailbox(t *testing.T) {
	s := start(t, nil)
	if err := s.put(chris, []byte("Subject: for Chris\r\n\r\nHello.\r\n")); err != nil {
		t.Fatal(err)
	}
	store := s.store(t)
	own, err := store.Login(t.Context(), backends.Credential{Kind: backends.CredentialPassword, User: chris, Secret: []byte("chris-secret")})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		rights double.Rights
		sends  bool
		opens  bool
	}{
		{"no right to a folder", double.Rights{SendAs: true}, false, false},
		{"reading", double.Rights{Reads: true}, false, true},
		{"reading and sending", double.Rights{Reads: true, SendAs: true}, true, true},
		{"with administrative access", double.Rights{Reads: true, Admin: true}, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.boxes[chris].Grant(s.boxes[george], test.rights)
			for range 2 { // the second time, the address book is not asked
				account, err := store.Login(t.Context(), by("chris"))
				if !test.opens {
					notOpen(t, err)
					_, _, err = subjects(t, store, backends.OpenRequest{Credential: by(chris)})
					notOpen(t, err)
					continue
				}
				if err != nil || account.ID != own.ID || slices.Contains(account.Addresses, chris) != test.sends || (account.Address == chris) != test.sends {
					t.Errorf("%+v, %v", account, err)
				}
				all, opened, err := subjects(t, store, backends.OpenRequest{Credential: by(chris)})
				if err != nil || !slices.Equal(all, []string{"for Chris"}) || opened.Account.ID != own.ID || (opened.Account.Address == chris) != test.sends {
					t.Errorf("%q, %+v, %v", all, opened, err)
				}
			}
		})
	}
	t.Run("a session that is lost", func(t *testing.T) {
		m, err := store.Open(t.Context(), backends.OpenRequest{Credential: by(chris), Folder: "Archive"})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		s.Forget()
		for _, err := range m.List(t.Context()) {
			t.Error("the folder is empty:", err)
		}
	})
	if contexts, _ := s.Left(); contexts != 0 {
		t.Errorf("%d session contexts are left", contexts)
	}
}

func notOpen(t *testing.T, err error) {
	t.Helper()
	var f *backends.Failure
	if !errors.As(err, &f) || f.Kind != backends.Permanent || f.Code != "5.7.1" || f.Text == "" {
		t.Errorf("%#v", err)
	}
}

// TestNotTheirs: a mailbox that is nobody's, and one that is not one's own to open, are told alike, and neither as a wrong password.
func TestNotTheirs(t *testing.T) {
	store := start(t, nil).store(t)
	_, theirs := store.Login(t.Context(), by(chris))
	_, nobodys := store.Login(t.Context(), by("nobody@sakes.example"))
	for _, err := range []error{theirs, nobodys} {
		notOpen(t, err)
	}
	if a, b := backends.AsFailure(theirs).Reply(), backends.AsFailure(nobodys).Reply(); a != b {
		t.Errorf("%v and %v", a, b)
	}
	wrong := by(chris)
	wrong.Secret = []byte("guessed")
	if _, err := store.Login(t.Context(), wrong); backends.KindOf(err) != backends.BadCredentials {
		t.Error(err)
	}
}

// acting is the gateway's word for a user.
func acting(user string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialImpersonation, User: user}
}

// TestService: a service account acts for users, where it may open their mailboxes.
func TestService(t *testing.T) {
	s := start(t, map[string]any{"service": map[string]any{"user": service, "password": "keeper-secret"}})
	if err := s.put(chris, []byte("Subject: for Chris\r\n\r\nHello.\r\n")); err != nil {
		t.Fatal(err)
	}
	s.AddMailbox("closed@sakes.example", "closed-secret", "/o=Sakes/cn=Recipients/cn=closed")
	store := s.store(t)
	for range 2 {
		account, err := store.Login(t.Context(), acting("chris"))
		if err != nil || account.Address != chris || !slices.Contains(account.Addresses, chris) {
			t.Errorf("%+v, %v", account, err)
		}
		all, opened, err := subjects(t, store, backends.OpenRequest{Credential: acting(chris)})
		if err != nil || !slices.Equal(all, []string{"for Chris"}) || opened.Account.ID != account.ID || opened.Account.Address != chris {
			t.Errorf("%q, %+v, %v", all, opened, err)
		}
	}
	if _, err := store.Open(t.Context(), backends.OpenRequest{Credential: acting("closed@sakes.example")}); backends.KindOf(err) != backends.Temporary ||
		!strings.Contains(err.Error(), "FullAccess") {
		t.Error("a mailbox that the service account may not open:", err)
	}
	if _, err := store.Login(t.Context(), acting("nobody@sakes.example")); backends.KindOf(err) != backends.BadCredentials {
		t.Error(err)
	}
	another := acting(george)
	another.ActAs = chris
	_, err := store.Login(t.Context(), another)
	notOpen(t, err)
}

// TestServiceIsNotLocked: a service account whose password is wrong is an outage, and its password is sent once.
func TestServiceIsNotLocked(t *testing.T) {
	s := start(t, map[string]any{"service": map[string]any{"user": service, "password": "guessed"}})
	store := s.store(t)
	failed := make(chan error)
	for range 5 {
		go func() {
			_, err := store.Login(t.Context(), acting(george))
			failed <- err
		}()
	}
	for range 5 {
		err := <-failed
		f := backends.AsFailure(err)
		if backends.KindOf(err) != backends.Temporary || f.RetryAfter == 0 || !strings.Contains(f.Detail, `"service"`) || strings.Contains(f.Error(), "guessed") {
			t.Errorf("%#v", err)
		}
	}
	if n := s.Refusals(service); n != 1 {
		t.Errorf("the password was sent %d times", n)
	}
	if _, err := store.Login(t.Context(), backends.Credential{Kind: backends.CredentialPassword, User: george, Secret: []byte("george-secret")}); err != nil {
		t.Error("somebody's own password:", err)
	}
}
