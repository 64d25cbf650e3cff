package jmap_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestExamine: a mailbox that is well has no causes, and each thing that is wrong ends the way with its own.
func TestExamine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(f *fake, more map[string]any, c *backends.Credential)
		want string // the last step
	}{
		{"healthy", nil, "message good"},
		{"nobody", func(_ *fake, _ map[string]any, c *backends.Credential) { *c = backends.Credential{} }, "login skipped"},
		{"wrong password", func(f *fake, _ map[string]any, c *backends.Credential) { c.Secret = []byte("guessed-wrong") }, "login failed wrong-credentials"},
		{"no such name", func(_ *fake, more map[string]any, _ *backends.Credential) {
			more["url"] = "https://mail.nowhere.invalid"
		}, "name mail.nowhere.invalid failed name-not-found"},
		{"nobody listens", func(_ *fake, more map[string]any, _ *backends.Credential) { more["url"] = "https://127.0.0.1:1" }, "connection to 127.0.0.1:1 failed port-closed"},
		{"server fails", func(f *fake, _ map[string]any, _ *backends.Credential) {
			f.paths["session"] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
		}, "JMAP failed store-unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			f.fill(2)
			more, c := make(map[string]any), ada()
			if test.do != nil {
				test.do(f, more, &c)
			}
			var last backends.Step
			err := f.store(t, more).Examine(t.Context(), backends.ExamineRequest{Credential: c}, func(s backends.Step) {
				last = s
				if (s.Cause != "") != (s.Outcome == backends.StepFailed) {
					t.Errorf("%+v", s)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.TrimSpace(strings.ReplaceAll(last.Name, " at "+f.Listener.Addr().String(), "") + " " + last.Outcome.String() + " " + last.Cause)
			if got != test.want {
				t.Errorf("%q, want %q: %+v", got, test.want, last)
			}
		})
	}
}
