package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// inSession opens a sending session, and gives a function that sends in it and returns what the fake
// says of the message.
func inSession(t *testing.T, s *Store) (backends.Sending, func(ctx context.Context, content io.Reader, to ...string) (string, error)) {
	t.Helper()
	session, err := s.OpenSending(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session, func(ctx context.Context, content io.Reader, to ...string) (string, error) {
		verdicts, err := session.Send(ctx, delivery(to...), content)
		if err != nil {
			return "", err
		}
		return verdicts[0].Destination, nil
	}
}

// users is how many sessions the current process has.
func users(s *Store) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.inUse()
}

func TestSendingSession(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	for _, test := range []struct {
		name string
		// between happens between two good messages.
		between func(t *testing.T, s *Store, send func(ctx context.Context, content io.Reader, to ...string) (string, error))
		then    int // which message of the same login the second one is; 0: it is another login's
	}{
		{"nothing", func(*testing.T, *Store, func(context.Context, io.Reader, ...string) (string, error)) {}, 2},
		{"one is refused before it is read", func(t *testing.T, _ *Store, send func(context.Context, io.Reader, ...string) (string, error)) {
			if _, err := send(t.Context(), &endless{}, "refused-early@fake.example"); err != nil {
				t.Error(err)
			}
		}, 3},
		{"one has no valid verdicts", func(t *testing.T, _ *Store, send func(context.Context, io.Reader, ...string) (string, error)) {
			_, err := send(t.Context(), strings.NewReader("x"), "other@x.example")
			kindIs(t, err, backends.Uncertain)
		}, 0},
		{"one is not valid", func(t *testing.T, _ *Store, send func(context.Context, io.Reader, ...string) (string, error)) {
			_, err := send(t.Context(), strings.NewReader("x"), "\xff@x.example")
			kindIs(t, err, backends.Permanent)
		}, 2},
		{"the content of one fails", func(t *testing.T, _ *Store, send func(context.Context, io.Reader, ...string) (string, error)) {
			_, err := send(t.Context(), failing(300_000, errors.New("gone")), "b@x.example")
			kindIs(t, err, backends.Temporary)
		}, 0},
		{"one is cancelled", func(t *testing.T, _ *Store, send func(context.Context, io.Reader, ...string) (string, error)) {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := send(ctx, io.MultiReader(strings.NewReader("x"), &cancelling{ctx, cancel}), "b@x.example")
			kindIs(t, err, backends.Temporary)
		}, 0},
		{"the plugin dies with one", func(t *testing.T, s *Store, send func(context.Context, io.Reader, ...string) (string, error)) {
			_, err := send(t.Context(), strings.NewReader("x"), "crash-late@fake.example")
			kindIs(t, err, backends.Uncertain)
			within(t, "a process is ready", func() bool { return s.Status().Ready })
		}, 0},
		{"the plugin is replaced", func(t *testing.T, s *Store, _ func(context.Context, io.Reader, ...string) (string, error)) {
			old := s.current
			if err := s.Swap(t.Context(), s.spec); err != nil {
				t.Fatal(err)
			}
			within(t, "the old process is gone", func() bool { return old.life.Err() != nil })
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			session, send := inSession(t, s)
			pid := s.Status().PID
			first, err := send(t.Context(), strings.NewReader("x"), "b@x.example")
			login, one := strings.CutPrefix(first, "message 1 of ")
			if !one {
				t.Fatal(first, err)
			}
			test.between(t, s, send)
			second, err := send(t.Context(), strings.NewReader(string(wholePattern(200_000))), "b@x.example")
			switch want := fmt.Sprintf("message %d of %s", test.then, login); {
			case err != nil:
				t.Error(err)
			case test.then > 0 && second != want:
				t.Errorf("%q, want %q", second, want)
			case test.then == 0 && (!strings.HasPrefix(second, "message 1 of ") || second == first && s.Status().PID == pid):
				t.Errorf("%q after %q: it is no other login", second, first)
			}
			if err := session.Close(); err != nil || users(s) != 0 {
				t.Errorf("closed (%v), and there are %d users", err, users(s))
			}
			_, err = send(t.Context(), strings.NewReader("x"), "b@x.example")
			kindIs(t, err, backends.Temporary)
		})
	}
}

// TestSendingIdle: a session lets its login go after a while, and takes another one when it is needed.
func TestSendingIdle(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	spec.SendIdle = 20 * time.Millisecond
	s, _ := start(t, spec)
	_, send := inSession(t, s)
	for _, want := range []string{"message 1 of login 1", "message 1 of login 2"} {
		if said, err := send(t.Context(), strings.NewReader("x"), "b@x.example"); said != want {
			t.Errorf("%q (%v), want %q", said, err, want)
		}
		within(t, "the stream ends", func() bool { return users(s) == 0 })
	}
}

// TestSendingOnce: a grant is good once, so the login that it has bought is kept as long as the session.
func TestSendingOnce(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	session, err := s.OpenSending(t.Context(), backends.Credential{Kind: backends.CredentialGrant, User: "once", Secret: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for range 2 {
		if _, err := session.Send(t.Context(), delivery("b@x.example"), strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		if session.(*sending).stream.idle.Stop() {
			t.Error("its time to be idle runs")
		}
	}
}

// TestSendingOneByOne: a plugin that takes a message at a time is given each with the credential.
func TestSendingOneByOne(t *testing.T) {
	s, _ := start(t, specOf(t, "one-by-one", fakeSettings{}))
	if s.Description().Capabilities.SendSessions {
		t.Fatal("it says that it has sessions")
	}
	session, _ := inSession(t, s)
	for range 3 {
		if verdicts, err := session.Send(t.Context(), delivery("b@x.example"), strings.NewReader("x")); err != nil || len(verdicts) != 1 {
			t.Error(verdicts, err)
		}
		if n := users(s); n != 0 {
			t.Errorf("%d users between two messages", n)
		}
	}
	_, err := session.Send(t.Context(), delivery("crash-late@fake.example"), strings.NewReader("x"))
	kindIs(t, err, backends.Uncertain)
}

// TestSendingToTheEnd: one that has no sessions may read to the end of the stream before it answers.
func TestSendingToTheEnd(t *testing.T) {
	s, _ := start(t, specOf(t, "to-the-end", fakeSettings{}))
	_, send := inSession(t, s)
	for range 2 {
		if _, err := send(t.Context(), strings.NewReader("x"), "b@x.example"); err != nil {
			t.Error(err)
		}
	}
}

// TestSendingLies: an answer that may be to another message is none (I1), and the session goes on.
func TestSendingLies(t *testing.T) {
	s, _ := start(t, specOf(t, "liar", fakeSettings{}))
	for name, kind := range map[string]backends.Kind{
		"other-key": backends.Uncertain, "no-key": backends.Uncertain, "ends": backends.Uncertain, "fails": backends.Uncertain, "fine": 0,
	} {
		t.Run(name, func(t *testing.T) {
			_, send := inSession(t, s)
			_, err := send(t.Context(), strings.NewReader("x"), name+"@x.example")
			if backends.KindOf(err) != kind {
				t.Error(err)
			}
			if _, err := send(t.Context(), strings.NewReader("x"), "fine@x.example"); err != nil {
				t.Error("the next message:", err)
			}
		})
	}
	t.Run("a failure late", func(t *testing.T) {
		session, _ := inSession(t, s)
		first, second := delivery("then-fails@x.example"), delivery("fine@x.example")
		second.Key = "key-2"
		if _, err := session.Send(t.Context(), first, strings.NewReader("x")); err != nil {
			t.Error(err)
		}
		if _, err := session.Send(t.Context(), second, strings.NewReader("x")); err == nil || backends.KindOf(err) == backends.Permanent {
			t.Errorf("the failure of the message before counts: %v", err)
		}
	})
	t.Run("twice", func(t *testing.T) {
		session, _ := inSession(t, s)
		first, second := delivery("twice@x.example"), delivery("twice@x.example")
		second.Key = "key-2"
		if _, err := session.Send(t.Context(), first, strings.NewReader("x")); err != nil {
			t.Error(err)
		}
		if _, err := session.Send(t.Context(), second, strings.NewReader("x")); err == nil {
			t.Error("the second answer to the message before counts")
		}
	})
}

// cancelling cancels when it is read.
type cancelling struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func (c *cancelling) Read([]byte) (int, error) {
	c.cancel()
	<-c.ctx.Done()
	return 0, c.ctx.Err()
}
