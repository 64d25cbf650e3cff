package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

func offers(kind backends.CredentialKind) need {
	return func(s *suite) string {
		if slices.Contains(s.description.Credentials, kind) {
			return ""
		}
		return ownNature + "it takes no credential of the kind " + kind.String()
	}
}

var loginCases = []testcase{
	{"right", nil, func(t *trial) {
		a := t.login(t.first())
		if a.ID == "" || len(a.ID) > 255 || strings.ContainsFunc(a.ID, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("the account's ID %q is not 1 to 255 printable octets", a.ID)
		}
		if a.Address != "" && !slices.Contains(a.Addresses, a.Address) {
			t.Errorf("the primary address %q is not among the addresses %q", a.Address, a.Addresses)
		}
		if a.Address != "" && !strings.EqualFold(a.Address, t.Address) {
			t.Errorf("the address is %q, and should be %q", a.Address, t.Address)
		}
	}},
	{"same-id-again", nil, func(t *trial) {
		first := t.login(t.first()).ID
		if again := t.login(t.first()).ID; again != first {
			t.Errorf("the account's ID is %q at first and %q then", first, again)
		}
	}},
	{"same-id-for-every-name", []need{password}, func(t *trial) {
		c := t.credential(t.first())
		c.User = t.Address
		if a, err := t.store.Login(t.ctx, c); err != nil {
			t.notOffered("the address is no login name: %v", err)
		} else if id := t.login(t.first()).ID; a.ID != id {
			t.Errorf("the account's ID is %q by login name and %q by address", id, a.ID)
		}
	}},
	{"another-account", []need{secondAccount}, func(t *trial) {
		if a, b := t.login(t.first()).ID, t.login(t.second()).ID; a == b {
			t.Errorf("both accounts have the ID %q", a)
		}
	}},
	{"wrong-password", []need{password}, func(t *trial) {
		t.wrong("a wrong password", t.User, t.Password+"x")
		t.wrong("half a password", t.User, t.Password[:len(t.Password)/2])
	}},
	{"empty-password", []need{password}, func(t *trial) {
		// A directory takes a bind without a password for an anonymous one, which succeeds
		// (RFC 4513 §5.1.2).
		t.wrong("an empty password", t.User, "")
	}},
	{"another's-password", []need{password, secondAccount}, func(t *trial) {
		t.wrong("the password of the other account", t.User, t.SecondPassword)
	}},
	{"unknown-user", []need{password}, func(t *trial) {
		t.wrong("an unknown user", "storetest-no-such-user", t.Password)
		t.wrong("an unknown user of the domain", t.Unknown, t.Password)
		t.wrong("no user", "", t.Password)
	}},
	{"unknown-user-told-as-wrong-password", []need{password}, func(t *trial) {
		_, wrong := t.store.Login(t.ctx, t.with(t.User, t.Password+"x"))
		_, unknown := t.store.Login(t.ctx, t.with(t.Unknown, t.Password))
		a, b := backends.AsFailure(wrong), backends.AsFailure(unknown)
		if a == nil || b == nil {
			return // wrong-password and unknown-user tell
		}
		if a.Kind == b.Kind && a.Reply() != b.Reply() {
			t.Errorf("a client can tell a wrong password (%v) from an unknown user (%v)", a.Reply(), b.Reply())
		}
	}},
	{"hostile-names", []need{password}, func(t *trial) {
		for _, name := range []string{
			strings.Repeat("x", 10000), "../" + t.User, "\x00", t.User + "\x00", t.User + "\r\nstoretest", "*", "%",
			"' or 1=1 --", ")(uid=*", "\xff\xfe", strings.Repeat("@", 300),
		} {
			if _, err := t.store.Login(t.ctx, t.with(name, t.Password)); err == nil {
				t.Errorf("the name %q is let in", excerpt([]byte(name)))
			}
		}
		_, _ = t.store.Login(t.ctx, t.with(t.User, strings.Repeat("x", 100000)+"\x00"))
		t.login(t.first())
	}},
	{"unsupported-kind", nil, func(t *trial) {
		for kind := backends.CredentialPassword; kind <= backends.CredentialImpersonation+1; kind++ {
			if !slices.Contains(t.description.Credentials, kind) {
				c := backends.Credential{Kind: kind, User: t.User, Secret: []byte(t.Password)}
				_, err := t.store.Login(t.ctx, c)
				t.wantKind("a credential of kind "+kind.String(), err, backends.Unsupported)
			}
		}
	}},
	{"impersonation", []need{offers(backends.CredentialImpersonation)}, func(t *trial) {
		a, err := t.store.Login(t.ctx, backends.Credential{Kind: backends.CredentialImpersonation, User: t.User})
		if err != nil {
			t.Fatalf("acting for %s: %w", t.User, err)
		}
		if id := t.login(t.first()).ID; a.ID != id {
			t.Errorf("acting for %s gives the account %q, and should give %q", t.User, a.ID, id)
		}
		if _, err := t.store.Login(t.ctx, backends.Credential{Kind: backends.CredentialImpersonation, User: t.Unknown}); err == nil {
			t.Errorf("acting for an unknown user succeeds")
		}
	}},
	{"impersonation-opens-no-more", []need{password, offers(backends.CredentialImpersonation), secondAccount}, func(t *trial) {
		// The gateway's word says who somebody is, not what they may open.
		c := t.credential(t.first())
		c.ActAs = t.SecondUser
		_, own := t.store.Login(t.ctx, c)
		_, impersonation := t.store.Login(t.ctx, backends.Credential{Kind: backends.CredentialImpersonation, User: t.User, ActAs: t.SecondUser})
		if own != nil && impersonation == nil {
			t.Errorf("%s, who may not open the mailbox of %s, may do so by the gateway's word", t.User, t.SecondUser)
		}
	}},
	{"act-as-another", []need{password, secondAccount}, func(t *trial) {
		c := t.credential(t.first())
		c.ActAs = t.SecondUser
		a, err := t.store.Login(t.ctx, c)
		if second := t.login(t.second()).ID; err == nil && a.ID != second {
			t.Errorf("who asks for the mailbox of %s gets that of %q", t.SecondUser, a.ID)
		}
	}},
	{"act-as-oneself", []need{password}, func(t *trial) {
		c := t.credential(t.first())
		c.ActAs = t.User
		if _, err := t.store.Login(t.ctx, c); err != nil {
			t.Errorf("acting as oneself: %w", err)
		}
	}},
	{"forged-grant", []need{offers(backends.CredentialGrant)}, func(t *trial) {
		for _, secret := range []string{"", "storetest", t.User, t.Password} {
			_, err := t.store.Login(t.ctx, backends.Credential{Kind: backends.CredentialGrant, User: t.User, Secret: []byte(secret)})
			t.wantKind("a grant that was never given", err, backends.BadCredentials)
		}
	}},
	{"cancelled", nil, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("Login with a context that has ended", func() {
			// It may have happened, or not; it was not a wrong password.
			if _, err := t.store.Login(ctx, t.credential(t.first())); backends.KindOf(err) == backends.BadCredentials {
				t.Errorf("a login that was cancelled is told as a wrong password: %w", err)
			}
		})
		t.login(t.first())
	}},
	{"at-once", nil, func(t *trial) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := t.store.Login(t.ctx, t.credential(t.first())); err != nil {
					t.Errorf("one of several logins at once: %w", err)
				}
			})
		}
		all.Wait()
	}},
	{"open-fails-as-login-does", []need{reader, password}, func(t *trial) {
		open := func(c backends.Credential) error {
			d, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: c})
			if err == nil {
				_ = d.Close()
			}
			return err
		}
		t.wantKind("opening with a wrong password", open(t.with(t.User, t.Password+"x")), backends.BadCredentials)
		t.wantKind("opening as an unknown user", open(t.with(t.Unknown, t.Password)), backends.BadCredentials)
	}},
	{"secret-stays-unchanged", []need{password}, func(t *trial) {
		c := t.credential(t.first())
		before := bytes.Clone(c.Secret)
		_, _ = t.store.Login(t.ctx, c)
		if !bytes.Equal(before, c.Secret) {
			t.Errorf("Login has changed the caller's secret")
		}
	}},
}

func (t *trial) login(box mailbox) backends.Account {
	a, err := t.store.Login(t.ctx, t.credential(box))
	if err != nil {
		t.Fatalf("logging in as %s: %w", box.user, err)
	}
	return a
}

// with is a password credential with another name or password.
func (t *trial) with(user, password string) backends.Credential {
	c := t.credential(t.first())
	c.User, c.Secret = user, []byte(password)
	return c
}

func (t *trial) wrong(what, user, password string) {
	_, err := t.store.Login(t.ctx, t.with(user, password))
	t.wantKind(what, err, backends.BadCredentials)
	if f := (*backends.Failure)(nil); err != nil && !errors.As(err, &f) {
		t.Errorf("%s: the error is no *Failure: %w", what, err)
	}
}
