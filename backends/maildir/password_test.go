package maildir

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/dipylon/dipylon/backends"
)

func TestPasswordHash(t *testing.T) {
	const salt, sum = "c29tZXNhbHRzb21lc2FsdA", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"good", "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum, nil},
		{"the most", "$argon2id$v=19$m=131072,t=16,p=16$" + salt + "$" + sum, nil},
		{"too much memory", "$argon2id$v=19$m=131073,t=2,p=1$" + salt + "$" + sum, errHashCosts},
		{"memory for an attack", "$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + sum, errHashCosts},
		{"too little memory", "$argon2id$v=19$m=15,t=2,p=2$" + salt + "$" + sum, errHashCosts},
		{"too many passes", "$argon2id$v=19$m=64,t=17,p=1$" + salt + "$" + sum, errHashCosts},
		{"no passes", "$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + sum, errHashCosts},
		{"no threads", "$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + sum, errHashCosts},
		{"too many threads", "$argon2id$v=19$m=19456,t=1,p=17$" + salt + "$" + sum, errHashCosts},
		{"more than a number holds", "$argon2id$v=19$m=19456,t=1,p=256$" + salt + "$" + sum, errNotArgon2id},
		{"another version", "$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + sum, errNotArgon2id},
		{"another function", "$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + sum, errNotArgon2id},
		{"crypt", "$6$rounds=5000$abc$def", errNotArgon2id},
		{"more behind the costs", "$argon2id$v=19$m=64,t=1,p=1,x=1$" + salt + "$" + sum, errNotArgon2id},
		{"a short salt", "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$" + sum, errNotArgon2id},
		{"a short sum", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$c2FsdA", errNotArgon2id},
		{"a long sum", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + strings.Repeat("AAAA", 30), errNotArgon2id},
		{"no base64", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$!", errNotArgon2id},
		{"nothing", "", errNotArgon2id},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := parseHash(c.text)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err == nil && h.String() != c.text {
				t.Errorf("%s is written as %s", c.text, h)
			}
		})
	}
}

// TestKnownHash is a hash that the reference implementation of Argon2 makes
// (echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32 -e).
func TestKnownHash(t *testing.T) {
	const known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	h, err := parseHash(known)
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(1)
	if right, err := v.verify(t.Context(), h, []byte("password")); !right || err != nil {
		t.Errorf("the right password: %v, %v", right, err)
	}
	if right, err := v.verify(t.Context(), h, []byte("Password")); right || err != nil {
		t.Errorf("a wrong password: %v, %v", right, err)
	}
}

func TestNewHash(t *testing.T) {
	a, b := newHash([]byte(secret)), newHash([]byte(secret))
	if a.String() == b.String() {
		t.Error("two hashes of one password are the same")
	}
	if !strings.HasPrefix(a.String(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%s does not have the usual costs", a)
	}
	again, err := parseHash(a.String())
	if err != nil {
		t.Fatal(err)
	}
	if right, _ := newVerifier(1).verify(t.Context(), again, []byte(secret)); !right {
		t.Error("the password does not have its hash")
	}
}

// TestFailingLoginsCostTheSame shows that a name that nobody has waits for its turn to be
// hashed as any other, and that its hash costs what most of the file's do.
func TestFailingLoginsCostTheSame(t *testing.T) {
	w := newWorld(t, nil)
	w.verifier = newVerifier(1)
	w.verifier <- struct{}{} // somebody else's turn
	for _, user := range []string{anna, "nobody@sakes.example", "nobody", ""} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Login(ctx, password(user)); backends.KindOf(err) != backends.Temporary {
			t.Errorf("%q is told something without its turn: %v", user, err)
		}
	}
	if d := w.use.accounts.directory(); d.decoy.costs != cheapCosts {
		t.Errorf("the decoy costs %+v", d.decoy.costs)
	}
}

func TestVerifierIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(2)
		v <- struct{}{}
		v <- struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := v.verify(ctx, decoyHash(cheapCosts), nil)
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("a third one did not wait: %v", err)
		default:
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		<-v
		if _, err := v.verify(t.Context(), decoyHash(cheapCosts), nil); err != nil {
			t.Errorf("with a free place: %v", err)
		}
	})
}

func FuzzHash(f *testing.F) {
	f.Add(decoyHash(usualCosts).String())
	f.Add("$argon2id$v=19$m=64,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHash(text)
		if err != nil {
			return
		}
		if again, err := parseHash(h.String()); err != nil || again.String() != h.String() {
			t.Errorf("%q, written as %q, %v", text, h, err)
		}
		if h.memory > mostCosts.memory || h.passes > mostCosts.passes || h.threads > mostCosts.threads {
			t.Errorf("%q has costs %+v", text, h.costs)
		}
	})
}
