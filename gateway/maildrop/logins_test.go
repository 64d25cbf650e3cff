package maildrop_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/maildrop"
)

// TestLoginDelay has alice come again: too soon, and in time.
func TestLoginDelay(t *testing.T) {
	now := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	g := newGateway(t, func(o *maildrop.Options) {
		o.LoginDelay, o.Now = time.Minute, func() time.Time { return now }
	})
	for _, step := range []struct {
		name  string
		later time.Duration
		user  string
		pass  string
		want  string
	}{
		{"the first time", 0, "alice", "sesame", "+OK"},
		{"at once again", 0, "alice", "sesame", "-ERR [LOGIN-DELAY]"},
		{"by another name", time.Second, "alice@sakes.example", "sesame", "-ERR [LOGIN-DELAY]"},
		{"a wrong password is told first", 0, "alice", "simsim", "-ERR [AUTH]"},
		{"another folder is another maildrop", 0, "alice+Archive", "sesame", "+OK"},
		{"a moment too soon", 58 * time.Second, "alice", "sesame", "-ERR [LOGIN-DELAY]"},
		{"in time: trying did not begin it anew", time.Second, "alice", "sesame", "+OK"},
		{"the next time begins with that", 59 * time.Second, "alice", "sesame", "-ERR [LOGIN-DELAY]"},
	} {
		now = now.Add(step.later)
		drop, err := g.session().Password(t.Context(), step.user, []byte(step.pass))
		if got := code(err); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
		if err == nil {
			_ = drop.Close()
		}
		g.idle()
	}
	if n := strings.Count(g.log.String(), `"outcome":"busy"`); n != 4 {
		t.Errorf("%d logins were told to be busy: %s", n, g.log)
	}
}

// TestLoginThatFailedBeginsNoDelay has the list fail once.
func TestLoginThatFailedBeginsNoDelay(t *testing.T) {
	g := newGateway(t, func(o *maildrop.Options) { o.LoginDelay = time.Hour })
	g.store.add("m1", letter)
	failures := 1
	g.store.onEntry = func(context.Context, int) error {
		failures--
		if failures == 0 {
			return backends.Fail(backends.Temporary, "down")
		}
		return nil
	}
	if _, err := g.session().Password(t.Context(), "alice", []byte("sesame")); code(err) != "-ERR [SYS/TEMP]" {
		t.Fatal(err)
	}
	g.login()
	if _, err := g.session().Password(t.Context(), "alice", []byte("sesame")); code(err) != "-ERR [IN-USE]" {
		t.Errorf("while it is open: %v", err)
	}
}

// TestLoginDelayThroughTheEngine is the same as a client sees it.
func TestLoginDelayThroughTheEngine(t *testing.T) {
	g := newGateway(t, func(o *maildrop.Options) { o.LoginDelay = time.Hour })
	dial := g.serve()
	first := dial()
	ask(t, first, "USER alice", "+OK")
	ask(t, first, "PASS sesame", "+OK")
	ask(t, first, "QUIT", "+OK")
	answer := "-ERR [IN-USE]"
	for strings.HasPrefix(answer, "-ERR [IN-USE]") { // until the first session has let go
		second := dial()
		ask(t, second, "USER alice", "+OK")
		var err error
		if err = second.PrintfLine("PASS sesame"); err == nil {
			answer, err = second.ReadLine()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(answer, "-ERR [LOGIN-DELAY] ") {
		t.Errorf("got %q", answer)
	}
}

// TestFolders has folders opened by name, and locked each by itself.
func TestFolders(t *testing.T) {
	g := newGateway(t)
	for _, test := range []struct{ user, folder string }{
		{"alice+Lists/Go", "Lists/Go"}, {"alice+Archive@sakes.example", "Archive"}, {"alice", ""},
	} {
		drop, err := g.session().Password(t.Context(), test.user, []byte("sesame"))
		if err != nil {
			t.Fatal(err)
		}
		defer drop.Close() //nolint:errcheck // the fake does not fail
		if g.store.seen.Folder != test.folder || g.store.seen.Credential.User != strings.Replace(strings.Replace(test.user, "+Lists/Go", "", 1), "+Archive", "", 1) {
			t.Errorf("%s opens %q of %q", test.user, g.store.seen.Folder, g.store.seen.Credential.User)
		}
	}
	if n := g.locks.Len(); n != 3 {
		t.Errorf("%d locks for three folders", n)
	}
	for _, user := range []string{"alice@sakes.example+lists/go", "alice+INBOX", "alice!Alice+archive"} {
		if _, err := g.session().Password(t.Context(), user, []byte("sesame")); code(err) != "-ERR [IN-USE]" {
			t.Errorf("%s: %v", user, err)
		}
	}
}
