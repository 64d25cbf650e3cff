package login

import (
	"fmt"
	"testing"
	"time"
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
	if n := len(m.accounts["alice"].Value.(*remembered).sums); n > secretsMost {
		t.Errorf("%d secrets of one account", n)
	}
	if !m.knows("alice", "", fmt.Append(nil, 3*secretsMost-1)) {
		t.Error("the last one is not remembered")
	}
	for i := range accountsMost + 10 {
		m.remember(fmt.Sprint("user", i), "", []byte("x"), time.Hour)
		m.knows("alice", "", nil) // asked for, so kept
	}
	if len(m.accounts) > accountsMost || m.recent.Len() != len(m.accounts) {
		t.Errorf("%d accounts, %d in the list", len(m.accounts), m.recent.Len())
	}
	if _, kept := m.accounts["alice"]; !kept {
		t.Error("an account in use was thrown out")
	}
	m.forget("alice")
	m.forget("nobody")
	if _, kept := m.accounts["alice"]; kept || m.recent.Len() != len(m.accounts) {
		t.Error("it is not forgotten")
	}
}
