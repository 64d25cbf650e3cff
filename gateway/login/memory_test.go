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
	for i := range 3 * secretsMost {
		m.remember("alice", "", fmt.Append(nil, i), time.Hour)
	}
	if n := len(m.hashed.byKey["alice"].Value.(*entry[map[sum]time.Time]).value); n > secretsMost {
		t.Errorf("%d secrets of one account", n)
	}
	if !m.knows("alice", "", fmt.Append(nil, 3*secretsMost-1)) {
		t.Error("the last one is not remembered")
	}
	for i := range accountsMost + 10 {
		user := fmt.Sprint("user", i)
		m.remember(user, "", []byte("x"), time.Hour)
		m.rememberOwn("sakes", user, []byte("x"), backends.Account{ID: user}, time.Hour, m.era("sakes"))
		m.knows("alice", "", nil) // asked for, so kept
	}
	for what, sizes := range map[string][2]int{
		"application passwords": {len(m.hashed.byKey), m.hashed.order.Len()},
		"accounts":              {len(m.accounts.byKey), m.accounts.order.Len()},
		"names":                 {len(m.names.byKey), m.names.order.Len()},
	} {
		if sizes[0] != accountsMost || sizes[1] != accountsMost {
			t.Errorf("%s: %d, %d in the list", what, sizes[0], sizes[1])
		}
	}
	if !m.knows("alice", "", fmt.Append(nil, 3*secretsMost-1)) {
		t.Error("an account in use was thrown out")
	}
	m.forget("alice")
	m.forget("nobody")
	if m.knows("alice", "", fmt.Append(nil, 3*secretsMost-1)) || m.hashed.order.Len() != len(m.hashed.byKey) {
		t.Error("it is not forgotten")
	}
}
