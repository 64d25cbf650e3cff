package storetest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
)

// Stores of many kinds keep the contract. The suite must let each of them pass, and say of
// what it could not test that it was not offered.

// configured is a reference store with the accounts that target names.
func configured(t *testing.T, settings string) *memstore.Store {
	t.Helper()
	s := memstore.New()
	if err := s.Configure(t.Context(), backends.Settings{Raw: []byte(settings)}); err != nil {
		t.Fatal(err)
	}
	return s
}

// around makes a target of any store, with nothing but the accounts.
func around(store backends.Store) storetest.Target {
	target := storetest.TargetFor(store, storetest.Options{
		User: "anna", Password: "secret of anna", Address: "anna@sakes.example",
		SecondUser: "bert", SecondPassword: "secret of bert", SecondAddress: "bert@sakes.example",
		InMemory: true, Large: 1 << 19, Many: 30,
	})
	return target
}

// sorts of stores that are given fewer interfaces than the reference has.
type (
	bare struct{ backends.Store }

	readerOnly struct {
		backends.Store
		backends.Reader
	}
	outboxOnly struct {
		backends.Store
		backends.Outbox
	}
	receiverOnly struct {
		backends.Store
		backends.Receiver
	}
)

// quiet is a store whose description says nothing of SASL.
func quiet(t *testing.T) *liar {
	l := &liar{Store: configured(t, raw)}
	describing(func(d *backends.Description) { d.Mechanisms = nil })(l)
	return l
}

func TestVariants(t *testing.T) {
	for _, v := range []struct {
		name   string
		target func(t *testing.T) storetest.Target
		// ran and skipped are cases that must have been run and must not have been.
		ran, skipped []string
	}{
		{
			name:    "no capability at all",
			target:  func(t *testing.T) storetest.Target { return around(bare{quiet(t)}) },
			ran:     []string{"login/right", "health/ready", "hygiene/texts"},
			skipped: []string{"maildrop/whole", "receiver/to-one", "sender/retry", "outbox/collect", "authenticator/right", "configure/not-json", "close/ends-everything"},
		},
		{
			name: "reader, fed and emptied by other programs",
			target: func(t *testing.T) storetest.Target {
				l := quiet(t)
				target := around(readerOnly{l, l})
				target.Put = func(_ context.Context, user string, message []byte) error {
					_, err := l.Store.Put(user, "", message)
					return err
				}
				target.Expunge = func(ctx context.Context, user string, id backends.MessageID) error {
					d, err := l.Store.Open(ctx, backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialImpersonation, User: user}})
					if err == nil {
						_, err = d.Remove(ctx, []backends.MessageID{id}, backends.DisposalRemove)
					}
					return err
				}
				return target
			},
			ran:     []string{"maildrop/whole", "maildrop/removed-by-another", "remove/exactly-these"},
			skipped: []string{"receiver/to-one", "concurrency/deliveries-and-readers"},
		},
		{
			name: "reader, fed with a delay",
			target: func(t *testing.T) storetest.Target {
				l := quiet(t)
				target := around(readerOnly{l, l})
				target.Put = func(_ context.Context, user string, message []byte) error {
					time.AfterFunc(100*time.Millisecond, func() { _, _ = l.Store.Put(user, "", message) })
					time.Sleep(10 * time.Millisecond)
					return nil
				}
				target.Many = 5
				return target
			},
			ran:     []string{"maildrop/oldest-first", "remove/exactly-these"},
			skipped: []string{"receiver/to-one"},
		},
		{
			name:    "reader that nothing can be put into",
			target:  func(t *testing.T) storetest.Target { l := quiet(t); return around(readerOnly{l, l}) },
			ran:     []string{"maildrop/empty", "maildrop/unknown-folder"},
			skipped: []string{"maildrop/whole"},
		},
		{
			name:    "receiver whose mail nobody reads",
			target:  func(t *testing.T) storetest.Target { l := quiet(t); return around(receiverOnly{l, l}) },
			ran:     []string{"receiver/resolve-unknown", "receiver/to-nobody-known"},
			skipped: []string{"receiver/to-one", "maildrop/whole"},
		},
		{
			name: "outbox, filled by another program",
			target: func(t *testing.T) storetest.Target {
				l := quiet(t)
				target := around(outboxOnly{l, l})
				target.Enqueue = func(_ context.Context, e backends.Outgoing, message []byte) error {
					l.Store.Enqueue(e, message)
					return nil
				}
				return target
			},
			ran:     []string{"outbox/collect", "outbox/lease-runs-out", "outbox/settled-in-part"},
			skipped: []string{"sender/retry"},
		},
		{
			name: "one session an account at a time",
			target: func(t *testing.T) storetest.Target {
				l := &liar{Store: configured(t, raw)}
				exclusive(l)
				return around(l)
			},
			ran:     []string{"maildrop/whole", "maildrop/one-account-twice", "concurrency/sessions"},
			skipped: []string{"maildrop/removed-by-another", "remove/seen-at-once"},
		},
		{
			name: "renders",
			target: func(t *testing.T) storetest.Target {
				l := &liar{Store: configured(t, raw)}
				keeping(rendered)(l)
				target := around(l)
				target.Renders = true
				return target
			},
			ran:     []string{"maildrop/whole", "maildrop/top-n", "receiver/content-nul"},
			skipped: []string{"receiver/content-large"},
		},
		{
			name: "adds a trace header",
			target: func(t *testing.T) storetest.Target {
				return around(configured(t, strings.Replace(raw, `"impersonation": true`, `"impersonation": true, "return_path": true`, 1)))
			},
			ran: []string{"receiver/content-dots", "receiver/content-no-body"},
		},
		{
			name: "refuses NUL and long lines",
			target: func(t *testing.T) storetest.Target {
				l := &liar{Store: configured(t, raw)}
				l.deliver = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
					data, err := io.ReadAll(content)
					if bytes.Contains(data, []byte{0}) || len(folded(998)(data)) != len(data) {
						return nil, backends.Fail(backends.Permanent, "no").WithCode("5.6.0")
					}
					return l.Store.Deliver(ctx, d, io.MultiReader(bytes.NewReader(data), failingWith(err)))
				}
				return around(l)
			},
			ran:     []string{"receiver/content-line-of-998"},
			skipped: []string{"receiver/content-nul", "receiver/content-line-of-10000"},
		},
		{
			name: "the gateway's word is enough",
			target: func(t *testing.T) storetest.Target {
				l := &liar{Store: configured(t, raw)}
				describing(func(d *backends.Description) {
					d.Credentials = []backends.CredentialKind{backends.CredentialImpersonation, backends.CredentialGrant}
				})(l)
				l.login = func(ctx context.Context, c backends.Credential) (backends.Account, error) {
					if c.Kind == backends.CredentialPassword {
						return backends.Account{}, backends.Fail(backends.Unsupported, "no passwords")
					}
					return l.Store.Login(ctx, c)
				}
				target := around(l)
				target.Password, target.SecondPassword = "secret of anna", "secret of bert" // for SASL alone
				return target
			},
			ran:     []string{"maildrop/whole", "login/impersonation"},
			skipped: []string{"login/wrong-password"},
		},
		{
			name: "no limits, one account",
			target: func(t *testing.T) storetest.Target {
				target := around(configured(t, strings.Replace(raw, "2000000", "0", 1)))
				target.SecondUser, target.SecondPassword, target.SecondAddress = "", "", ""
				return target
			},
			ran:     []string{"receiver/to-one"},
			skipped: []string{"receiver/too-large", "receiver/to-many", "maildrop/two-accounts-at-once"},
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				skipped := make(map[string]bool)
				err := storetest.Check(t.Context(), v.target(t), func(r storetest.Result) {
					if r.Err != nil {
						t.Errorf("%s/%s: %v", r.Group, r.Name, r.Err)
					}
					if r.Passed() == (r.Skipped != "") {
						t.Errorf("%s/%s has passed and was not offered", r.Group, r.Name)
					}
					skipped[r.Group+"/"+r.Name] = r.Skipped != ""
				})
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range v.ran {
					if was, known := skipped[name]; was || !known {
						t.Errorf("%s was not run (known: %v)", name, known)
					}
				}
				for _, name := range v.skipped {
					if was, known := skipped[name]; !was {
						t.Errorf("%s was run (known: %v)", name, known)
					}
				}
			})
		})
	}
}

// exclusive lets one session into each inbox.
func exclusive(l *liar) {
	var mu sync.Mutex
	open := make(map[string]bool)
	l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
		d, err := l.Store.Open(ctx, r)
		if err != nil {
			return nil, err
		}
		id := d.Opened().Account.ID + " " + r.Folder
		mu.Lock()
		defer mu.Unlock()
		if open[id] {
			_ = d.Close()
			return nil, backends.Fail(backends.InUse, "it is open")
		}
		open[id] = true
		return &closingOnceDrop{Maildrop: d, release: func() { mu.Lock(); delete(open, id); mu.Unlock() }}, nil
	}
}

// rendered keeps the Subject and the text, and makes a message of them.
func rendered(data []byte) []byte {
	header, body, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	_, subject, _ := bytes.Cut(header, []byte("Subject: "))
	subject, _, _ = bytes.Cut(subject, []byte("\r\n"))
	text := strings.ToUpper(string(folded(70)(body)))
	return fmt.Appendf(nil, "X-Made-By: exchange\r\nSubject: %s\r\n\r\n%s", subject, text)
}

// TestHangingStore: each case of a store that hangs fails in bounded time, and the suite ends.
func TestHangingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, release := &liar{Store: configured(t, raw)}, make(chan struct{})
		l.login = func(context.Context, backends.Credential) (backends.Account, error) {
			<-release
			return backends.Account{}, backends.Fail(backends.Temporary, "it hung")
		}
		target := around(l)
		target.Timeout, target.Patience = time.Second, time.Second
		var hung, passed []string
		began := time.Now()
		err := storetest.Check(t.Context(), target, func(r storetest.Result) {
			switch {
			case r.Err != nil && strings.Contains(r.Err.Error(), "hangs"):
				hung = append(hung, r.Group+"/"+r.Name)
			case r.Passed():
				passed = append(passed, r.Group+"/"+r.Name)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Minute {
			t.Errorf("it took %v", took)
		}
		if !slices.Contains(hung, "login/right") || !slices.Contains(passed, "maildrop/whole") || !slices.Contains(passed, "close/ends-everything") && len(passed) < 100 {
			t.Errorf("hung: %v; passed: %v", hung, passed)
		}
		close(release)
	})
}

func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := storetest.Check(ctx, around(configured(t, raw)), func(storetest.Result) {
		if n++; n == 3 {
			cancel()
		}
	})
	if n != 3 || err == nil {
		t.Errorf("%d cases were reported after the context had ended (%v)", n-3, err)
	}
}

func TestCheckOfWhatCannotBeOpened(t *testing.T) {
	target := around(nil)
	target.Open = func(context.Context) (backends.Store, error) { return nil, io.ErrClosedPipe }
	report := func(storetest.Result) { t.Error("a case was reported") }
	if err := storetest.Check(t.Context(), target, report); err == nil || !strings.Contains(err.Error(), "opening") {
		t.Errorf("error %v", err)
	}
	if err := storetest.Check(t.Context(), storetest.Target{}, report); err == nil {
		t.Error("a target with nothing is taken")
	}
}

// TestMemoryCase: a store that keeps a message in memory on its way is seen to.
func TestMemoryCase(t *testing.T) {
	const size = 48 << 20
	streams := func(_ context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
		if _, err := io.Copy(io.Discard, content); err != nil {
			return nil, err
		}
		return []backends.Verdict{{Recipient: d.Recipients[0].Address}}, nil
	}
	debug.SetGCPercent(100) // what a process has that nobody told to waste memory
	t.Cleanup(func() { debug.SetGCPercent(400) })
	hoards := func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
		data, err := io.ReadAll(content)
		if err != nil {
			return nil, err
		}
		return streams(ctx, d, bytes.NewReader(data))
	}
	for name, c := range map[string]struct {
		deliver deliverFunc
		fails   bool
	}{"streams": {streams, false}, "hoards": {hoards, true}} {
		t.Run(name, func(t *testing.T) {
			l := quiet(t)
			l.deliver = c.deliver
			describing(func(d *backends.Description) { d.Mechanisms, d.Limits.MessageSize = nil, 0 })(l)
			target := around(receiverOnly{l, l})
			target.InMemory, target.Large = false, size
			ran := false
			err := storetest.Check(t.Context(), target, func(r storetest.Result) {
				if r.Name == "memory" {
					ran = true
					if (r.Err != nil) != c.fails || r.Skipped != "" {
						t.Errorf("error %v, skipped %q", r.Err, r.Skipped)
					}
				}
			})
			if err != nil || !ran {
				t.Errorf("error %v, ran: %v", err, ran)
			}
		})
	}
}
