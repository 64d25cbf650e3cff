package login

import (
	"fmt"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

func TestMemory(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	m := newMemory(func() time.Time { return now })
	m.remember("alice", "", []byte("sesame"), time.Minute)
	for _, test := range []struct {
		account, context, secret string
		want                     bool
	}{
		{"alice", "", "sesame", true},
		{"alice", "", "Sesame", false},
		{"alice", "k7f2q", "sesame", false},
		{"bob", "", "sesame", false},
		{"alic", "e", "sesame", false},
	} {
		if got := m.knows(test.account, test.context, []byte(test.secret)); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
	if newMemory(m.now).sumOf("alice", "", []byte("sesame")) == m.sumOf("alice", "", []byte("sesame")) {
		t.Error("two processes have one key")
	}
	now = now.Add(time.Minute)
	if m.knows("alice", "", []byte("sesame")) {
		t.Error("it is remembered for too long")
	}
	m.remember("alice", "", []byte("sesame"), 0)
	if m.knows("alice", "", []byte("sesame")) {
		t.Error("it is remembered although nothing should be")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(time.Now)
	m.remember("alice", "id", []byte("sesame"), time.Hour)
	for i := range rememberedMost + 10 {
		user := fmt.Sprint("user", i)
		m.remember(user, "", []byte("x"), time.Hour)
		m.rememberOwn("sakes", user, []byte("x"), backends.Account{ID: user}, time.Hour, m.era("sakes"))
		m.knows("alice", "id", nil) // asked for, so kept
	}
	for what, sizes := range map[string][2]int{
		"application passwords": {len(m.hashed.byKey), m.hashed.order.Len()},
		"accounts":              {len(m.accounts.byKey), m.accounts.order.Len()},
		"names":                 {len(m.names.byKey), m.names.order.Len()},
	} {
		if sizes[0] != rememberedMost || sizes[1] != rememberedMost {
			t.Errorf("%s: %d, %d in the list", what, sizes[0], sizes[1])
		}
	}
	if !m.knows("alice", "id", []byte("sesame")) {
		t.Error("an account in use was thrown out")
	}
	m.forgetHashed("alice", "id")
	m.forget("nobody")
	if m.knows("alice", "id", []byte("sesame")) || m.hashed.order.Len() != len(m.hashed.byKey) {
		t.Error("it is not forgotten")
	}
}

// TestMemoryOfManyDevices: of the passwords of one account as many are remembered as it has, and a wrong one costs none of the others.
func TestMemoryOfManyDevices(t *testing.T) {
	m := newMemory(time.Now)
	const devices = 500
	for i := range devices {
		m.remember("scanner", fmt.Sprint(i), fmt.Append(nil, "secret ", i), time.Hour)
	}
	m.forgetHashed("scanner", "0")
	for i := range devices {
		if got := m.knows("scanner", fmt.Sprint(i), fmt.Append(nil, "secret ", i)); got != (i > 0) {
			t.Errorf("device %d: %v", i, got)
		}
	}
}
