package replies_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/smtp"
)

func TestKinds(t *testing.T) {
	for _, test := range []struct {
		kind  backends.Kind
		pop3  string
		smtp  string
		login string
	}{
		{backends.Temporary, "SYS/TEMP", "451 4.3.0", "454 4.7.0"},
		{backends.Permanent, "SYS/PERM", "554 5.3.0", "535 5.7.8"},
		{backends.BadCredentials, "AUTH", "451 4.3.5", "535 5.7.8"},
		{backends.InUse, "IN-USE", "450 4.2.1", "454 4.7.0"},
		{backends.NotFound, "", "550 5.1.1", "535 5.7.8"},
		{backends.OverQuota, "SYS/PERM", "452 4.2.2", "454 4.7.0"},
		{backends.TooLarge, "SYS/PERM", "552 5.3.4", "535 5.7.8"},
		{backends.Throttled, "SYS/TEMP", "451 4.7.0", "454 4.7.0"},
		{backends.Unsupported, "SYS/PERM", "554 5.3.3", "504 5.5.4"},
		{backends.Poison, "SYS/PERM", "554 5.6.0", "535 5.7.8"},
		{backends.Uncertain, "SYS/TEMP", "451 4.4.2", "454 4.7.0"},
		{backends.Kind(99), "SYS/TEMP", "451 4.3.0", "454 4.7.0"},
	} {
		t.Run(test.kind.String(), func(t *testing.T) {
			secret := "host7.internal refused"
			err := fmt.Errorf("open: %w", backends.Fail(test.kind, "%s", secret))
			p, ok := errors.AsType[*pop3.Error](replies.POP3(err))
			if !ok || p.Code != test.pop3 || p.Text == "" || p.Text == secret {
				t.Errorf("POP3: %+v", p)
			}
			for name, c := range map[string]struct {
				got  error
				want string
			}{"SMTP": {replies.SMTP(err), test.smtp}, "SMTPLogin": {replies.SMTPLogin(err), test.login}} {
				s, ok := errors.AsType[*smtp.Error](c.got)
				if !ok {
					t.Fatalf("%s: %T", name, c.got)
				}
				if got := fmt.Sprintf("%d %s", s.Code, s.Enhanced); got != c.want || s.Text == "" || s.Text == secret {
					t.Errorf("%s: %s %q, want %s", name, got, s.Text, c.want)
				}
				if !errors.Is(s, &backends.Failure{Kind: test.kind}) {
					t.Errorf("%s: the cause is lost", name)
				}
			}
		})
	}
}

func TestPassThrough(t *testing.T) {
	for name, f := range map[string]func(error) error{"POP3": replies.POP3, "SMTP": replies.SMTP, "SMTPLogin": replies.SMTPLogin} {
		if f(nil) != nil {
			t.Errorf("%s(nil) is not nil", name)
		}
	}
	p := &pop3.Error{Code: "IN-USE"}
	s := &smtp.Error{Code: 552}
	if replies.POP3(fmt.Errorf("x: %w", p)) != error(p) || replies.SMTP(fmt.Errorf("x: %w", s)) != error(s) || replies.SMTPLogin(s) != error(s) {
		t.Error("a reply that is one already was changed")
	}
}

func TestUnknownErrorIsTemporary(t *testing.T) {
	for _, err := range []error{errors.New("boom"), context.Canceled, context.DeadlineExceeded} {
		s, _ := errors.AsType[*smtp.Error](replies.SMTP(err))
		p, _ := errors.AsType[*pop3.Error](replies.POP3(err))
		if s.Code != 451 || p.Code != "SYS/TEMP" {
			t.Errorf("%v: %v, %v", err, s, p)
		}
	}
}

func TestRefusedLoginsAreToldAlike(t *testing.T) {
	a := backends.Fail(backends.BadCredentials, "x").Say("no such user").WithCode("5.1.1")
	b := backends.Fail(backends.BadCredentials, "y").Say("wrong password")
	for name, f := range map[string]func(error) error{"POP3": replies.POP3, "SMTPLogin": replies.SMTPLogin} {
		tell := func(err error) string {
			switch e := f(err).(type) {
			case *pop3.Error:
				return e.Code + e.Text
			case *smtp.Error:
				return e.Enhanced + e.Text
			}
			return ""
		}
		if tell(a) != tell(b) || tell(a) == "" {
			t.Errorf("%s: %q and %q", name, tell(a), tell(b))
		}
	}
}
