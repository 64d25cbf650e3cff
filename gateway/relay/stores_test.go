//go:build linux

package relay_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
	"github.com/dipylon/dipylon/test/harness"
)

// store takes mail in as its function says: a verdict for each recipient.
type store struct {
	answer func(d backends.Delivery, content string, err error) ([]backends.Verdict, error)

	mu        sync.Mutex
	delivered []backends.Delivery
}

func (*store) Describe(context.Context) (backends.Description, error) {
	return backends.Description{Name: "fake", Limits: backends.Limits{Recipients: 3}}, nil
}
func (*store) Configure(context.Context, backends.Settings) error { return nil }
func (*store) Health(context.Context) error                       { return nil }
func (*store) Close() error                                       { return nil }

func (*store) Login(context.Context, backends.Credential) (backends.Account, error) {
	return backends.Account{}, errors.New("nobody logs in here")
}

func (*store) Resolve(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
	return nil, errors.New("nobody asks")
}

func (s *store) Deliver(_ context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	all, err := io.ReadAll(content)
	s.mu.Lock()
	s.delivered = append(s.delivered, d)
	s.mu.Unlock()
	return s.answer(d, string(all), err)
}

// taken are verdicts of a store that has taken the message for all.
func taken(d backends.Delivery) (verdicts []backends.Verdict) {
	for _, r := range d.Recipients {
		verdicts = append(verdicts, backends.Verdict{Recipient: r.Address})
	}
	return verdicts
}

// newStoreWorld is a relay whose destination store:sakes is a store.
func newStoreWorld(t *testing.T, s *store) *world {
	t.Helper()
	w := newWorld(t, "")
	router := stores.NewRouter(storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(s))))
	w.relay.Routes, w.relay.Stores = routes{"store:sakes": {Kind: relay.Store, Store: "sakes"}}, relay.StoresOf(router)
	return w
}

// local is a message for recipients in the store.
func local(key string, to ...string) spool.Message {
	m := letter(key, to...)
	for i := range m.Recipients {
		m.Recipients[i].Destination = "store:sakes"
	}
	return m
}

// TestStore: the store's word counts for each recipient, under the message's key, with all that it may know.
func TestStore(t *testing.T) {
	s := &store{answer: func(d backends.Delivery, content string, err error) ([]backends.Verdict, error) {
		if content != text || err != nil {
			return nil, errors.New("this is another message")
		}
		verdicts := taken(d)
		for i, r := range d.Recipients {
			switch local, _, _ := strings.Cut(r.Address, "@"); local {
			case "nobody":
				verdicts[i].Failure = backends.Fail(backends.NotFound, "no such mailbox")
			case "full":
				verdicts[i].Failure = backends.Fail(backends.OverQuota, "full").After(time.Hour)
			case "a":
				verdicts[i].Destination, verdicts[i].StoredAs = "Lists/Go", backends.MessageID(strings.Repeat("\xff7", 200))
			case "list":
				verdicts[i].Action = backends.ActionExpanded
			case "moved":
				verdicts[i].Failure = backends.Fail(backends.Permanent, "no").WithCode("5.7.1")
				verdicts[i].Destination, verdicts[i].RemoteDiagnostic = "dns; in.example", "smtp; 550 5.7.1 not you"
			}
		}
		return verdicts, nil
	}}
	w := newStoreWorld(t, s)
	m := local("k1", "a@sakes.example", "nobody@sakes.example", "full@sakes.example", "list@sakes.example", "moved@sakes.example")
	m.Recipients[3].Notify = backends.NotifySuccess
	m.Peer = backends.Peer{Address: "192.0.2.9:1", Protocol: "smtp"}
	w.add(m, text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@sakes.example delivered 2.0.0", "nobody@sakes.example failed 5.1.1", "full@sakes.example uncertain 4.2.2",
		"list@sakes.example delivered 2.0.0", "moved@sakes.example failed 5.7.1")
	if due := w.waiting[2].pending.Due; due.Sub(begin) != time.Hour {
		t.Errorf("it is tried again after %s", due.Sub(begin))
	}
	if last := w.waiting[4].pending.Last; last.Server != "in.example" || last.Diagnostic != "smtp; 550 5.7.1 not you" {
		t.Errorf("the last outcome is %+v", last)
	}
	harness.Eventually(t, await, "the log tells where the copy is", func() bool {
		_, behind, told := strings.Cut(w.logged(), `"folder":"Lists/Go","stored_as":"`)
		stored, _, _ := strings.Cut(behind, `"`)
		return told && strings.Count(stored, "7") == 128
	})
	if len(w.reports) != 1 || count(w, "Action: expanded") != 1 || count(w, "Action: failed") != 2 {
		t.Errorf("the sender is told %+v", w.reports)
	}
	want := backends.Delivery{Key: "k1", Envelope: m.Envelope, Size: int64(len(text)), Received: begin, Peer: m.Peer}
	for _, r := range m.Recipients[:3] { // as many as it takes at a time
		want.Recipients = append(want.Recipients, r.Recipient)
	}
	if diff := cmp.Diff(want, s.delivered[0]); diff != "" {
		t.Error(diff)
	}
}

// TestStoreUncertain: what a store may have taken goes to it again under the same key, and it is told so.
func TestStoreUncertain(t *testing.T) {
	for name, fail := range map[string]func(d backends.Delivery) ([]backends.Verdict, error){
		"it says so": func(d backends.Delivery) ([]backends.Verdict, error) {
			return nil, backends.Fail(backends.Uncertain, "lost")
		},
		"it fails with the message read": func(backends.Delivery) ([]backends.Verdict, error) { return nil, errors.New("gone") },
		"it panics":                      func(backends.Delivery) ([]backends.Verdict, error) { panic("a mistake") },
		"verdicts on others": func(d backends.Delivery) ([]backends.Verdict, error) {
			return []backends.Verdict{{Recipient: "x@sakes.example"}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &store{}
			s.answer = func(d backends.Delivery, _ string, _ error) ([]backends.Verdict, error) {
				if !d.Retry {
					return fail(d)
				}
				return taken(d), nil
			}
			w := newStoreWorld(t, s)
			w.add(local("k1", "a@sakes.example"), text)
			w.run(t)
			w.rest(t)
			if states := w.states("k1"); !strings.HasPrefix(states[0], "a@sakes.example uncertain") {
				t.Errorf("got %q", states)
			}
			w.advance(time.Hour)
			w.finish(t)
			if len(s.delivered) != 2 || s.delivered[0].Key != "k1" || s.delivered[1].Key != "k1" || !s.delivered[1].Retry {
				t.Errorf("the store was given %+v", s.delivered)
			}
		})
	}
}

// TestStoreDown: a store that is down is left alone for a short while, after a few messages.
func TestStoreDown(t *testing.T) {
	w := newWorld(t, "")
	var down store
	down.answer = func(d backends.Delivery, _ string, _ error) ([]backends.Verdict, error) { return taken(d), nil }
	refuses := &refusing{store: &down}
	refuses.down.Store(true)
	router := stores.NewRouter(storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(refuses))))
	w.relay.Routes = routes{"store:sakes": {Kind: relay.Store, Store: "sakes"}}
	w.relay.Stores = relay.StoresOf(router)
	for range 50 {
		w.add(local("k", "a@sakes.example"), text)
	}
	w.run(t)
	w.rest(t)
	if n := refuses.asked.Load(); n > 5 || len(w.backoff) != 1 || w.backoff[0].wait != 30*time.Second {
		t.Errorf("it was asked %d times, and left alone: %v", n, w.backoff)
	}
	refuses.down.Store(false)
	w.advance(30 * time.Second)
	w.rest(t)
	if left := w.open; left > 5 {
		t.Errorf("%d are left", left)
	}
	w.advance(time.Hour)
	w.finish(t)
}

// TestStoreThatMayHaveTaken: where a store may have what it was given, nobody has what it was not given.
func TestStoreThatMayHaveTaken(t *testing.T) {
	w := newStoreWorld(t, &store{answer: func(backends.Delivery, string, error) ([]backends.Verdict, error) {
		return nil, backends.Fail(backends.Temporary, "later")
	}})
	for range 60 {
		w.add(local("k", "a@sakes.example"), text)
	}
	w.run(t)
	w.rest(t)
	for i, is := range w.states("k") {
		if tried := w.waiting[i].pending.Attempts > 0; tried != strings.Contains(is, "uncertain") {
			t.Errorf("%d: tried %t: %s", i, tried, is)
		}
	}
	if len(w.backoff) != 1 {
		t.Errorf("the store was left alone: %v", w.backoff)
	}
}

// TestStoreThatPutsOff: what a store puts off for itself is tried less and less often, as a server's is.
func TestStoreThatPutsOff(t *testing.T) {
	w := newStoreWorld(t, &store{answer: func(d backends.Delivery, _ string, _ error) ([]backends.Verdict, error) {
		return []backends.Verdict{{Recipient: d.Recipients[0].Address, Failure: backends.Fail(backends.OverQuota, "full")}}, nil
	}})
	w.add(local("k1", "a@sakes.example"), text)
	w.run(t)
	for i, wait := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 4 * time.Hour, 4 * time.Hour} {
		w.await(t, "it is put off", func() bool { return w.waiting[0].pending.Attempts == i+1 })
		if due := w.waiting[0].pending.Due.Sub(w.clock.Now()); due != wait {
			t.Errorf("after %d attempts it waits %s, not %s", i+1, due, wait)
		}
		w.advance(wait)
	}
}

// TestStoreMissing: mail waits for a store that is not configured (any more).
func TestStoreMissing(t *testing.T) {
	w := newStoreWorld(t, &store{})
	w.relay.Routes = routes{"store:sakes": {Kind: relay.Store, Store: "other"}}
	w.add(local("k1", "a@sakes.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@sakes.example waiting 4.3.5")
}

// TestStoreLeaseLost: a store does not get the end of a message that is another gateway's by now.
func TestStoreLeaseLost(t *testing.T) {
	ended := make(chan error, 1)
	w := newStoreWorld(t, &store{answer: func(d backends.Delivery, _ string, err error) ([]backends.Verdict, error) {
		ended <- err
		return nil, err
	}})
	w.gone["k1"] = true
	w.add(local("k1", "a@sakes.example"), text)
	w.run(t)
	if err := <-ended; err == nil {
		t.Error("the store has read the message to its end")
	}
}

// refusing is a store that can be down: it fails with nothing read.
type refusing struct {
	*store
	down  atomic.Bool
	asked atomic.Int32
}

func (r *refusing) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if r.down.Load() {
		r.asked.Add(1)
		return nil, backends.Fail(backends.Temporary, "the store is down")
	}
	return r.store.Deliver(ctx, d, content)
}
