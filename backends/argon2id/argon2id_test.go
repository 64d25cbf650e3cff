package argon2id

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

const secret = "correct horse"

// cheap keeps tests quick; the hashes are real.
var cheap = Costs{Memory: 64, Passes: 1, Threads: 1}

func TestParse(t *testing.T) {
	const salt, sum = "c29tZXNhbHRzb21lc2FsdA", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"good", "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum, nil},
		{"the most", "$argon2id$v=19$m=131072,t=16,p=16$" + salt + "$" + sum, nil},
		{"too much memory", "$argon2id$v=19$m=131073,t=2,p=1$" + salt + "$" + sum, ErrCosts},
		{"memory for an attack", "$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + sum, ErrCosts},
		{"too little memory", "$argon2id$v=19$m=15,t=2,p=2$" + salt + "$" + sum, ErrCosts},
		{"too many passes", "$argon2id$v=19$m=64,t=17,p=1$" + salt + "$" + sum, ErrCosts},
		{"no passes", "$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + sum, ErrCosts},
		{"no threads", "$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + sum, ErrCosts},
		{"too many threads", "$argon2id$v=19$m=19456,t=1,p=17$" + salt + "$" + sum, ErrCosts},
		{"more than a number holds", "$argon2id$v=19$m=19456,t=1,p=256$" + salt + "$" + sum, ErrNotArgon2id},
		{"another version", "$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + sum, ErrNotArgon2id},
		{"another function", "$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + sum, ErrNotArgon2id},
		{"crypt", "$6$rounds=5000$abc$def", ErrNotArgon2id},
		{"more behind the costs", "$argon2id$v=19$m=64,t=1,p=1,x=1$" + salt + "$" + sum, ErrNotArgon2id},
		{"a short salt", "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$" + sum, ErrNotArgon2id},
		{"a short sum", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$c2FsdA", ErrNotArgon2id},
		{"a long sum", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + strings.Repeat("AAAA", 30), ErrNotArgon2id},
		{"no base64", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$!", ErrNotArgon2id},
		{"nothing", "", ErrNotArgon2id},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := Parse(c.text)
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
	h, err := Parse(known)
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(1)
	if right, err := v.Verify(t.Context(), h, []byte("password")); !right || err != nil {
		t.Errorf("the right password: %v, %v", right, err)
	}
	if right, err := v.Verify(t.Context(), h, []byte("Password")); right || err != nil {
		t.Errorf("a wrong password: %v, %v", right, err)
	}
}

func TestNewHash(t *testing.T) {
	a, b := New([]byte(secret)), New([]byte(secret))
	if a.String() == b.String() {
		t.Error("two hashes of one password are the same")
	}
	if !strings.HasPrefix(a.String(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%s does not have the usual costs", a)
	}
	again, err := Parse(a.String())
	if err != nil {
		t.Fatal(err)
	}
	if right, _ := NewVerifier(1).Verify(t.Context(), again, []byte(secret)); !right {
		t.Error("the password does not have its hash")
	}
}

func TestVerifierIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(2)
		v <- struct{}{}
		v <- struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := v.Verify(ctx, Decoy(cheap), nil)
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
		if _, err := v.Verify(t.Context(), Decoy(cheap), nil); err != nil {
			t.Errorf("with a free place: %v", err)
		}
	})
}

func FuzzHash(f *testing.F) {
	f.Add(Decoy(Usual).String())
	f.Add("$argon2id$v=19$m=64,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(h.String()); err != nil || again.String() != h.String() {
			t.Errorf("%q, written as %q, %v", text, h, err)
		}
		if h.Memory > most.Memory || h.Passes > most.Passes || h.Threads > most.Threads {
			t.Errorf("%q has costs %+v", text, h.Costs)
		}
	})
}
