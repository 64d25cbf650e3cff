package doctor_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/probe"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
	"github.com/dipylon/dipylon/gateway/doctor"
)

// memory is a store with an account, ada, who has a message.
func memory(t *testing.T) *memstore.Store {
	t.Helper()
	s := memstore.New()
	err := s.Configure(t.Context(), backends.Settings{
		Domains: []string{"sakes.example"},
		Raw:     []byte(`{"accounts": [{"user": "ada", "password": "open sesame", "address": "ada@sakes.example"}]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	verdicts, err := s.Deliver(t.Context(), backends.Delivery{Key: "one", Recipients: backends.To("ada@sakes.example")}, strings.NewReader("Subject: x\r\n\r\nHello.\r\n"))
	if err != nil || verdicts[0].Failure != nil {
		t.Fatal(verdicts, err)
	}
	return s
}

// examine examines a store by the calls of the contract, unless examiner is set.
func examine(t *testing.T, s backends.Store, password string, examiner bool) (steps []backends.Step) {
	t.Helper()
	o := doctor.Options{Can: backends.CapabilitiesOf(s), Address: "ada@sakes.example"}
	o.Can.Examiner = examiner
	if password != "" {
		o.Login.Credential = backends.Credential{Kind: backends.CredentialPassword, User: "ada", Secret: []byte(password)}
	}
	if err := doctor.Run(t.Context(), s, o, func(step backends.Step) { steps = append(steps, step) }); err != nil {
		t.Fatal(err)
	}
	return steps
}

func names(steps []backends.Step) string {
	var all []string
	for _, s := range steps {
		all = append(all, s.Name+" "+s.Outcome.String())
	}
	return strings.Join(all, ", ")
}

func TestHealthy(t *testing.T) {
	s := memory(t)
	for want, got := range map[string][]backends.Step{
		"health good, recipient good, login good, open good, list good, message good": examine(t, s, "open sesame", false),
		"health good, recipient good, login skipped":                                  examine(t, s, "", false),
		"login good, list good, first message good":                                   examine(t, s, "open sesame", true),
	} {
		if names(got) != want {
			t.Errorf("%s, and should be %s", names(got), want)
		}
		for _, step := range got {
			if step.Cause != "" || step.Advice != "" {
				t.Errorf("nothing is wrong: %+v", step)
			}
		}
	}
}

// TestCauses: each thing that goes wrong ends the way, and is named.
func TestCauses(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault memstore.Fault
		want  string // the last step
		cause string
	}{
		{"store away", memstore.Fault{Call: "health", Kind: memstore.Kind(backends.Temporary)}, "health failed", "store-unavailable"},
		{"busy", memstore.Fault{Call: "login", Kind: memstore.Kind(backends.Throttled)}, "login failed", "busy"},
		{"password expired", memstore.Fault{Call: "login", Kind: memstore.Kind(backends.PasswordExpired)}, "login failed", "password-expired"},
		{"account disabled", memstore.Fault{Call: "login", Kind: memstore.Kind(backends.AccountDisabled)}, "login failed", "account-disabled"},
		{"in use", memstore.Fault{Call: "open", Kind: memstore.Kind(backends.InUse)}, "open failed", "in-use"},
		{"no right", memstore.Fault{Call: "open", Kind: memstore.Kind(backends.Permanent)}, "open failed", "refused"},
		{"moved", memstore.Fault{Call: "open", Kind: memstore.Kind(backends.MailboxMoved)}, "open failed", "mailbox-moved"},
		{"no list", memstore.Fault{Call: "list", Kind: memstore.Kind(backends.Unsupported)}, "list failed", "unsupported"},
		{"broken message", memstore.Fault{Call: "fetch", Kind: memstore.Kind(backends.Poison)}, "message failed", "message-broken"},
		{"cut message", memstore.Fault{Call: "content", Drop: true, After: 5}, "message failed", "message-broken"},
		{"wrong sizes", memstore.Fault{Call: "list", Grow: 3}, "message failed", "message-broken"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := memory(t)
			s.Inject(test.fault)
			steps := examine(t, s, "open sesame", false)
			last := steps[len(steps)-1]
			if last.Name+" "+last.Outcome.String() != test.want || last.Cause != test.cause || last.Advice == "" {
				t.Errorf("%s: %+v", names(steps), last)
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		steps := examine(t, memory(t), "guessed", false)
		if last := steps[len(steps)-1]; last.Name != "login" || last.Cause != "wrong-credentials" {
			t.Errorf("%+v", last)
		}
	})
	t.Run("recipient", func(t *testing.T) {
		s := memory(t)
		s.Inject(memstore.Fault{Call: "resolve", Recipient: "ada@sakes.example", Kind: memstore.Kind(backends.OverQuota)})
		steps := examine(t, s, "open sesame", false)
		if steps[1].Outcome != backends.StepWarning || steps[1].Cause != "over-quota" || steps[len(steps)-1].Name != "message" {
			t.Errorf("%s", names(steps))
		}
	})
}

// TestEveryKind: each kind of failure has a cause, and something that can be done.
func TestEveryKind(t *testing.T) {
	for kind := range backends.Replies {
		if cause := probe.CauseOf(backends.Fail(kind, "x")); cause.Name == "" || cause.Advice == "" {
			t.Errorf("%v: %+v", kind, cause)
		}
	}
}

// TestBrokenOff: an examination whose time is over says so.
func TestBrokenOff(t *testing.T) {
	s := memory(t)
	s.Inject(memstore.Fault{Call: "health", Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var steps []backends.Step
	if err := doctor.Run(ctx, s, doctor.Options{}, func(step backends.Step) { steps = append(steps, step) }); err == nil || steps[len(steps)-1].Cause != "no-answer" {
		t.Errorf("%+v, %v", steps, err)
	}
}

// sending is a store that sends into its own mailboxes, or loses what it sends.
type sending struct {
	*memstore.Store
	loses   bool
	refuses *backends.Failure
}

func (s sending) Send(ctx context.Context, _ backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	switch {
	case s.refuses != nil:
		return []backends.Verdict{{Recipient: d.Recipients[0].Address, Failure: s.refuses}}, nil
	case s.loses:
		return []backends.Verdict{{Recipient: d.Recipients[0].Address}}, nil
	}
	return s.Deliver(ctx, d, content)
}

// TestSendToSelf: a mail to oneself goes out and is waited for, where that was asked for and nothing has failed before.
func TestSendToSelf(t *testing.T) {
	denied := backends.Fail(backends.Permanent, "554 5.2.252 SendAsDenied; ada not allowed to send as ada")
	for _, test := range []struct {
		name     string
		change   func(*sending)
		password string
		want     string // the last steps
		cause    string
		mails    int
	}{
		{"well", func(*sending) {}, "open sesame", "send good, arrival good", "", 2},
		{"lost", func(s *sending) { s.loses = true }, "open sesame", "send good, arrival failed", "not-arrived", 1},
		{"refused", func(s *sending) { s.refuses = denied }, "open sesame", "send failed", "send-as-denied", 1},
		{"wrong password", func(*sending) {}, "guessed", "send skipped", "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := sending{Store: memory(t)}
			test.change(&s)
			o := doctor.Options{Can: backends.Capabilities{Reader: true, Receiver: true, Sender: true}, Address: "ada@sakes.example", SendToSelf: true, Patience: 100 * time.Millisecond}
			o.Login.Credential = backends.Credential{Kind: backends.CredentialPassword, User: "ada", Secret: []byte(test.password)}
			var steps []backends.Step
			if err := doctor.Run(t.Context(), s, o, func(step backends.Step) { steps = append(steps, step) }); err != nil {
				t.Fatal(err)
			}
			if got := names(steps); !strings.HasSuffix(got, test.want) || test.cause != "" && steps[len(steps)-1].Cause != test.cause {
				t.Errorf("%s, want %s: %+v", got, test.want, steps[len(steps)-1])
			}
			d, err := s.Open(t.Context(), backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialPassword, User: "ada", Secret: []byte("open sesame")}})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			mails := 0
			for range d.List(t.Context()) {
				mails++
			}
			if mails != test.mails {
				t.Errorf("%d mails, want %d", mails, test.mails)
			}
		})
	}
}

// letting is a store that lets some into their mailboxes by the gateway's word.
type letting struct {
	*memstore.Store
	err error
}

func (l letting) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	if c.Kind == backends.CredentialImpersonation {
		return backends.Account{ID: c.User}, l.err
	}
	return l.Store.Login(ctx, c)
}

// TestMustRefuse: an application that reaches a mailbox that it must not is found out; an outage proves nothing.
func TestMustRefuse(t *testing.T) {
	for _, test := range []struct {
		name, want, cause string
		err               error
	}{
		{"let in", "failed", "reaches-every-mailbox", nil},
		{"refused", "good", "", backends.Fail(backends.BadCredentials, "no")},
		{"away", "warning", "store-unavailable", backends.Fail(backends.Temporary, "no")},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := doctor.Options{MustRefuse: backends.Credential{Kind: backends.CredentialImpersonation, User: "ceo@sakes.example"}}
			var last backends.Step
			if err := doctor.Run(t.Context(), letting{memory(t), test.err}, o, func(step backends.Step) { last = step }); err != nil {
				t.Fatal(err)
			}
			if last.Name != "must refuse ceo@sakes.example" || last.Outcome.String() != test.want || last.Cause != test.cause {
				t.Errorf("%+v", last)
			}
		})
	}
}
