package backends_test

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

// kinds are all that the contract knows.
var kinds = []backends.Kind{
	backends.Temporary, backends.Permanent, backends.BadCredentials, backends.InUse, backends.NotFound,
	backends.OverQuota, backends.TooLarge, backends.Throttled, backends.Unsupported, backends.Poison, backends.Uncertain,
	backends.AccountDisabled, backends.PasswordExpired, backends.MailboxMoved,
}

func TestEveryKindHasAReply(t *testing.T) {
	if len(backends.Replies) != len(kinds) {
		t.Errorf("the table has %d rows for %d kinds", len(backends.Replies), len(kinds))
	}
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			reply, ok := backends.Replies[kind]
			if !ok {
				t.Fatal("no row in the table")
			}
			if !backends.ValidCode(reply.Code) {
				t.Errorf("%q is no enhanced status code", reply.Code)
			}
			if class := fmt.Sprint(reply.SMTP / 100); class != reply.Code[:1] {
				t.Errorf("reply code %d and enhanced code %s are of different classes", reply.SMTP, reply.Code)
			}
			if backends.SafeText(reply.Text) != reply.Text || reply.Text == "" {
				t.Errorf("text %q is not fit for a client", reply.Text)
			}
			if strings.HasPrefix(kind.String(), "kind ") {
				t.Error("the kind has no name")
			}
		})
	}
}

// Some enhanced status codes have a reply code of their own.
func TestReplyCodes(t *testing.T) {
	for _, tt := range []struct {
		kind backends.Kind
		code string
		want string
	}{
		{backends.Permanent, "5.6.7", "553 5.6.7"},
		{backends.Temporary, "4.5.3", "452 4.5.3"},
		{backends.Temporary, "4.3.1", "452 4.3.1"},
		{backends.Permanent, "4.5.3", "554 5.3.0"}, // of another class
		{backends.Permanent, "5.7.1", "554 5.7.1"},
		{backends.Temporary, "", "451 4.3.0"},
	} {
		r := backends.Fail(tt.kind, "x").WithCode(tt.code).Reply()
		if got := fmt.Sprintf("%d %s", r.SMTP, r.Code); got != tt.want {
			t.Errorf("%s with %q: %s, want %s", tt.kind, tt.code, got, tt.want)
		}
	}
}

// An outage is never told as a bad password, nor a bad password as an outage.
func TestOutageIsNoBadPassword(t *testing.T) {
	wrong := backends.Fail(backends.BadCredentials, "hash differs")
	outage := backends.Fail(backends.Temporary, "connection refused")
	if wrong.Temporary() || wrong.Reply().POP3 != "AUTH" {
		t.Errorf("bad credentials are told as %+v", wrong.Reply())
	}
	if !outage.Temporary() || outage.Reply().POP3 != "SYS/TEMP" {
		t.Errorf("an outage is told as %+v", outage.Reply())
	}
}

func TestAsFailure(t *testing.T) {
	full := backends.Fail(backends.OverQuota, "12 of 10 MiB")
	deadline, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for name, tt := range map[string]struct {
		err  error
		kind backends.Kind
		code string
	}{
		"itself":       {full, backends.OverQuota, "4.2.2"},
		"wrapped":      {fmt.Errorf("deliver: %w", full), backends.OverQuota, "4.2.2"},
		"a stranger":   {io.ErrUnexpectedEOF, backends.Temporary, "4.3.0"},
		"a deadline":   {fmt.Errorf("list: %w", deadline.Err()), backends.Temporary, "4.4.7"},
		"a later kind": {&backends.Failure{Kind: 200}, 200, "4.3.0"},
	} {
		t.Run(name, func(t *testing.T) {
			f := backends.AsFailure(tt.err)
			if f.Kind != tt.kind || f.Reply().Code != tt.code {
				t.Errorf("got %v with %s, want %v with %s", f.Kind, f.Reply().Code, tt.kind, tt.code)
			}
			if strings.Contains(f.Reply().Text, tt.err.Error()) {
				t.Errorf("the text %q tells what only the log should say", f.Reply().Text)
			}
		})
	}
	if backends.AsFailure(nil) != nil || backends.KindOf(nil) != 0 {
		t.Error("no error became a failure")
	}
}

func TestFailureKeepsItsCause(t *testing.T) {
	f := backends.Fail(backends.Temporary, "read: %w", io.ErrUnexpectedEOF).Say("try later").WithCode("4.3.1").After(time.Minute)
	if !errors.Is(f, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if !errors.Is(f, &backends.Failure{Kind: backends.Temporary}) || errors.Is(f, &backends.Failure{Kind: backends.Permanent}) {
		t.Error("errors.Is does not tell the kinds apart")
	}
	if r := f.Reply(); r.Code != "4.3.1" || r.Text != "try later" || f.RetryAfter != time.Minute {
		t.Errorf("got %+v after %v", r, f.RetryAfter)
	}
	two := backends.Fail(backends.Temporary, "fetch: %w (%w)", io.ErrUnexpectedEOF, context.Canceled)
	if !errors.Is(two, io.ErrUnexpectedEOF) || !errors.Is(two, context.Canceled) {
		t.Error("one of two causes is lost")
	}
}

// A plugin's word passes through Reply before a client sees it (I10).
func TestReplyIsSafe(t *testing.T) {
	for name, tt := range map[string]struct {
		failure backends.Failure
		code    string
		text    string
	}{
		"a second line":        {backends.Failure{Kind: backends.Permanent, Text: "no\r\n250 yes"}, "5.3.0", "no 250 yes"},
		"a response code":      {backends.Failure{Kind: backends.Permanent, Text: "[AUTH] no"}, "5.3.0", "AUTH] no"},
		"an escape sequence":   {backends.Failure{Kind: backends.Permanent, Text: "\x1b[31mno\x00"}, "5.3.0", "31mno"},
		"8 bit":                {backends.Failure{Kind: backends.Permanent, Text: "größe\xff"}, "5.3.0", "gr??e?"},
		"a code of success":    {backends.Failure{Kind: backends.Permanent, Code: "2.0.0", Text: "no"}, "5.3.0", "no"},
		"a code of other kind": {backends.Failure{Kind: backends.Temporary, Code: "5.1.1", Text: "no"}, "4.3.0", "no"},
		"a code with a tail":   {backends.Failure{Kind: backends.Permanent, Code: "5.1.1 x", Text: "no"}, "5.3.0", "no"},
		"nothing but blanks":   {backends.Failure{Kind: backends.NotFound, Text: " \r\n\t"}, "5.1.1", backends.Replies[backends.NotFound].Text},
	} {
		t.Run(name, func(t *testing.T) {
			if r := tt.failure.Reply(); r.Code != tt.code || r.Text != tt.text {
				t.Errorf("got %q %q, want %q %q", r.Code, r.Text, tt.code, tt.text)
			}
		})
	}
}

func TestCredentialHidesItsSecret(t *testing.T) {
	c := backends.Credential{Kind: backends.CredentialPassword, User: "ada", ActAs: "office", Secret: []byte("hunter2")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, c); strings.Contains(s, "hunter2") || strings.Contains(s, "104 117") || !strings.Contains(s, "ada as office") {
			t.Errorf("%s gives %q", format, s)
		}
	}
}

func FuzzSafeText(f *testing.F) {
	f.Add("no such user")
	f.Add("[IN-USE] a\r\n.\r\n+OK")
	f.Add(strings.Repeat("[ \x00é", 100))
	f.Fuzz(func(t *testing.T, text string) {
		safe := backends.SafeText(text)
		if len(safe) > 200 || strings.HasPrefix(safe, "[") {
			t.Fatalf("%q became %q", text, safe)
		}
		if strings.ContainsFunc(safe, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q became %q", text, safe)
		}
		if backends.SafeText(safe) != safe {
			t.Fatalf("%q is not stable: %q", safe, backends.SafeText(safe))
		}
	})
}

func FuzzValidCode(f *testing.F) {
	for _, seed := range []string{"5.1.1", "4.0.0", "2.0.0", "5.1", "5.01.1", "5.1.1000", "5..1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, code string) {
		if !backends.ValidCode(code) {
			return
		}
		var class, subject, detail int
		if n, err := fmt.Sscanf(code, "%d.%d.%d", &class, &subject, &detail); n != 3 || err != nil {
			t.Fatalf("%q was taken: %v", code, err)
		}
		if fmt.Sprintf("%d.%d.%d", class, subject, detail) != code || (class != 4 && class != 5) || subject > 999 || detail > 999 {
			t.Fatalf("%q was taken", code)
		}
	})
}
