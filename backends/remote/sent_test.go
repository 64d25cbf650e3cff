package remote_test

import (
	"fmt"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

// TestSent: who was sent a message is asked for each recipient, account and key.
func TestSent(t *testing.T) {
	var s remote.Sent
	first := backends.Delivery{Key: "k1", Recipients: backends.To("a@x", "b@x", "c@x")}
	verdicts := s.Note("ada", first, []backends.Verdict{
		{Recipient: "a@x"}, {Recipient: "b@x", Failure: backends.Fail(backends.Temporary, "later")}, {Recipient: "c@x", Failure: backends.Fail(backends.Uncertain, "?")},
	})
	if len(verdicts) != 3 || verdicts[0].Failure != nil || verdicts[1].Failure == nil || verdicts[2].Failure == nil {
		t.Errorf("%+v", verdicts)
	}
	for name, c := range map[string]struct {
		account, key string
		retry        bool
		left         string
	}{
		"a retry":                     {"ada", "k1", true, "[b@x c@x d@x]"},
		"the same, and no retry":      {"ada", "k1", false, "[a@x b@x c@x d@x]"},
		"another key":                 {"ada", "k10", true, "[a@x b@x c@x d@x]"},
		"the same key of another one": {"bob", "k1", true, "[a@x b@x c@x d@x]"},
	} {
		d := backends.Delivery{Key: c.key, Retry: c.retry, Recipients: backends.To("a@x", "b@x", "c@x", "d@x")}
		if left := fmt.Sprint(s.Left(c.account, d)); left != c.left {
			t.Errorf("%s: %s are left", name, left)
		}
	}
	for i := range 5000 { // more than are remembered
		s.Note("ada", backends.Delivery{Key: fmt.Sprint("more", i)}, []backends.Verdict{{Recipient: "a@x"}})
	}
	first.Retry = true
	if left := s.Left("ada", first); len(left) != 3 {
		t.Errorf("of what was forgotten, %v are left", left)
	}
}
