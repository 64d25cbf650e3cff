//go:build linux

package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/pop3client"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/fakepop3"
)

func TestMain(m *testing.M) { databases.Main(m) }

// world is a store with anna, bert and the fall-back mailbox of the post, and a collector of one account.
type world struct {
	t     *testing.T
	store *memstore.Store
	// refuse is asked before a delivery; an error comes of the store. after is called when it has the message.
	refuse func(d backends.Delivery) error
	after  func()
	db     *state.DB
	clock  time.Time
	locks  folder.MemoryLocks
	log    bytes.Buffer
	mu     sync.Mutex
	keys   []string
	retry  int
	asked  bool // somebody wants the runs
	c      *Collector
	source *memstore.Store // by IMAP
}

// Deliver implements [backends.Receiver].
func (w *world) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	w.mu.Lock()
	w.keys = append(w.keys, d.Key)
	if d.Retry {
		w.retry++
	}
	refuse, after := w.refuse, w.after
	w.mu.Unlock()
	if refuse != nil {
		if err := refuse(d); err != nil {
			return nil, err
		}
	}
	verdicts, err := w.store.Deliver(ctx, d, content)
	if after != nil {
		after()
	}
	return verdicts, err
}

// receiver is the store, as far as it is one that takes mail.
type receiver struct {
	backends.Store
	*world
}

// Resolve implements [backends.Receiver].
func (r receiver) Resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	return r.store.Resolve(ctx, q)
}

// users are a memory store's settings.
const users = `{"accounts": [{"user": "anna", "password": "a", "address": "anna@sakes.example"}, {"user": "bert", "password": "b", "address": "bert@sakes.example"}, {"user": "post", "password": "p", "address": "post@sakes.example"}]}`

func newStore(t *testing.T) *memstore.Store {
	t.Helper()
	s := memstore.New()
	if err := s.Configure(t.Context(), backends.Settings{Store: "sakes", Domains: []string{"sakes.example"}, Raw: []byte(users)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newWorld(t *testing.T, o state.Options) *world {
	t.Helper()
	o.Log = zerolog.Nop()
	w := &world{t: t, store: newStore(t), db: databases.Open(t, o), clock: time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)}
	w.c = w.collector(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.log.String())
		}
	})
	return w
}

// collector is a gateway's.
func (w *world) collector(t *testing.T) *Collector {
	t.Helper()
	description, err := w.store.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	description.Capabilities = backends.Capabilities{Receiver: true}
	table, err := stores.NewTable(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(stores.Plugin{
		Backend: receiver{w.store, w}, Description: func() *backends.Description { return &description },
	}))
	if err != nil {
		t.Fatal(err)
	}
	c := New(Options{
		Log: zerolog.New(&w.log), DB: w.db, Locks: &w.locks, Table: func() *stores.Table { return table },
		Buffers: func() buffer.Options { return buffer.Options{} }, Hostname: func() string { return "mail.sakes.example" },
		Hops: func() int { return 100 }, Parallel: func() int { return 1 }, Now: func() time.Time { return w.clock },
		OpenIMAP: func(ctx context.Context, _ *Account) (Opened, error) {
			drop, err := w.source.Open(ctx, backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialPassword, User: "anna", Secret: []byte("a")}})
			return Opened{Maildrop: drop, Close: func() {}}, err
		},
	})
	t.Cleanup(c.Close)
	return c
}

// account is a catch-all by POP3, as each test changes it.
func account(address string) *Account {
	return &Account{
		Name: "office", Protocol: POP3, Address: address, User: "office", Secure: pop3client.Options{Security: pop3client.Clear, Timeout: 5 * time.Second},
		Credential: func(context.Context) (pop3client.Login, error) {
			return pop3client.Login{User: "office", Password: "secret"}, nil
		},
		Headers: []string{"Envelope-To", "X-Envelope-To", "Delivered-To", "X-Original-To", "Received"}, Fallback: "post@sakes.example",
		Schedule: Schedule{Every: time.Minute}, MessageMost: 1 << 20, RunMost: 1000, Settings: "1",
	}
}

// collect does one run, and gives its counts.
func (w *world) collect(a *Account) (Counts, error) {
	w.t.Helper()
	return w.run(w.t.Context(), a)
}

func (w *world) run(ctx context.Context, a *Account) (Counts, error) {
	lock, err := w.locks.Acquire(ctx, leaseOf(a.Name))
	if err != nil {
		return Counts{}, err
	}
	defer lock.Release()
	s := Status{Account: a.Name}
	r := &run{Collector: w.c, account: a, log: w.c.Log, lock: lock, status: &s, asked: w.asked, tried: make(map[string]bool)}
	err = r.all(ctx)
	return r.count, err
}

var subject = regexp.MustCompile(`(?m)^Subject: (.*?)\r?$`)

// has are the subjects in a mailbox, in order.
func (w *world) has(user string) string {
	var all []string
	for _, m := range w.store.Messages(user, "") {
		all = append(all, string(subject.FindSubmatch(m)[1]))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func mail(subject string, fields ...string) string {
	return strings.Join(append(fields, "From: far@away.example", "To: everybody@sakes.example", "Message-ID: <"+subject+"@away.example>", "Subject: "+subject, "", "..text\r\n."), "\r\n") + "\r\n"
}

func (w *world) expect(user, want string) {
	w.t.Helper()
	if got := w.has(user); got != want {
		w.t.Errorf("%s has %q, not %q", user, got, want)
	}
}

func left(t *testing.T, s *fakepop3.Server, want int) {
	t.Helper()
	if got := len(s.Left()); got != want {
		t.Errorf("%d messages are at the source, not %d", got, want)
	}
}

// TestCatchAll: each copy of a message goes to its own envelope's recipient, what names nobody and what nobody has goes to the
// fall-back mailbox, and the source is empty in the end.
func TestCatchAll(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		w, s := newWorld(t, o), (&fakepop3.Server{}).Start(t)
		s.Put(mail("one", "Return-Path: <list@away.example>", "Envelope-To: anna@sakes.example"), mail("one", "Envelope-To: bert@sakes.example"),
			mail("both", "Envelope-To: anna@sakes.example, bert@sakes.example, far@away.example"), mail("nobody"), mail("unknown", "X-Original-To: carl@sakes.example"))
		a := account(s.Address)
		count, err := w.collect(a)
		if err != nil || count.Read != 5 || count.Delivered != 3 || count.Fallback != 2 || count.Removed != 5 {
			t.Errorf("%+v, %v", count, err)
		}
		w.expect("anna", "both one")
		w.expect("bert", "both one")
		w.expect("post", "nobody unknown")
		left(t, s, 0)
		if count, err := w.collect(a); err != nil || count != (Counts{}) {
			t.Errorf("again: %+v, %v", count, err)
		}
		text := string(w.store.Messages("anna", "")[0])
		if !strings.HasPrefix(text, "Received: from [127.0.0.1]\r\n\tby mail.sakes.example with POP3 id collect-") || !strings.Contains(text, "\r\n..text\r\n.\r\n") || strings.Contains(text, "Return-Path") {
			t.Errorf("%q", text)
		}
	})
}

// TestKilled: whatever ends a run, between any two of its steps, the next one goes on: nothing is lost, and nothing is there twice.
func TestKilled(t *testing.T) {
	type at struct {
		name string
		set  func(w *world, s *fakepop3.Server, end func())
	}
	before := func(command string) func(*world, *fakepop3.Server, func()) {
		return func(_ *world, s *fakepop3.Server, end func()) {
			s.Reply = func(session int, c string) string {
				if session == 1 && strings.HasPrefix(c, command) {
					end()
					if command == "QUIT" {
						return fakepop3.Close
					}
					return fakepop3.Silent
				}
				return ""
			}
		}
	}
	after := func(command string) func(*world, *fakepop3.Server, func()) {
		return func(_ *world, s *fakepop3.Server, end func()) {
			s.After = func(session int, c string) string {
				if session == 1 && strings.HasPrefix(c, command) {
					end()
					if command == "QUIT" {
						return fakepop3.Close
					}
					return fakepop3.Silent
				}
				return ""
			}
		}
	}
	for _, c := range []at{
		{"as it logs in", before("PASS")},
		{"as it lists", before("UIDL")},
		{"as it reads", before("RETR 2")},
		{"before the store has it", func(w *world, _ *fakepop3.Server, end func()) {
			w.refuse = func(backends.Delivery) error { end(); w.refuse = nil; return context.Canceled }
		}},
		{"when the store has it", func(w *world, _ *fakepop3.Server, end func()) {
			w.after = func() { end(); w.after = nil; w.dead() }
		}},
		{"before it is removed", before("DELE 1")},
		{"when it is marked", after("DELE 2")},
		{"before the source removes it", before("QUIT")},
		{"when the source has removed it", after("QUIT")},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), &fakepop3.Server{}
			ctx, end := context.WithCancel(t.Context())
			defer end()
			c.set(w, s, end)
			s.Start(t)
			s.Put(mail("one", "Envelope-To: anna@sakes.example"), mail("two", "Envelope-To: anna@sakes.example"), mail("three", "Envelope-To: bert@sakes.example"))
			a := account(s.Address)
			if _, err := w.run(ctx, a); err == nil {
				t.Error("it was not ended")
			}
			w.c = w.collector(t)
			w.clock = w.clock.Add(time.Hour)
			for range 2 {
				if _, err := w.collect(a); err != nil {
					t.Error(err)
				}
			}
			w.expect("anna", "one two")
			w.expect("bert", "three")
			w.expect("post", "")
			left(t, s, 0)
		})
	}
}

// TestLedgerFails: what cannot be written down stays at the source, and is not there twice in the end.
func TestLedgerFails(t *testing.T) {
	w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), (&fakepop3.Server{}).Start(t)
	a := account(s.Address)
	s.Put(mail("one", "Envelope-To: anna@sakes.example"), mail("two", "Envelope-To: anna@sakes.example"))
	w.after = func() { w.after = nil; w.dead() }
	if _, err := w.collect(a); kindOf(err) != kindState {
		t.Error(err)
	}
	left(t, s, 2)
	if n := s.Count("DELE"); n > 0 {
		t.Errorf("%d messages were marked", n)
	}
	w.c = w.collector(t)
	if _, err := w.collect(a); err != nil {
		t.Error(err)
	}
	w.expect("anna", "one two")
	left(t, s, 0)
}

// dead has nothing written any more by what runs, as of a process that is gone.
func (w *world) dead() { w.c.ledger.db = w.closed() }

// closed is a database that nothing can be written into.
func (w *world) closed() *state.DB {
	db := databases.Open(w.t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(w.t)})
	_ = db.Close()
	return db
}

// TestOddSources: whatever a server's unique-ids and sizes are, each message comes once, and others that it holds are not
// taken for what was collected.
func TestOddSources(t *testing.T) {
	for name, s := range map[string]*fakepop3.Server{
		"no unique-ids":            {NoUIDL: true},
		"neither those nor CAPA":   {NoUIDL: true, NoCAPA: true, NoTOP: true},
		"one unique-id for all":    {SameUID: true},
		"numbers for unique-ids":   {Numbered: true},
		"numbers, and no TOP":      {Numbered: true, NoTOP: true},
		"places for unique-ids":    {Placed: true},
		"places, and no TOP":       {Placed: true, NoTOP: true},
		"sizes that are too small": {Size: func(string) int64 { return 1 }},
		"sizes that are too large": {Size: func(text string) int64 { return int64(len(text)) * 10 }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, state.Options{Folder: databases.Folder(t)})
			s.After = func(session int, c string) string {
				if session == 1 && c == "QUIT" { // nobody knows whether it has removed anything
					return fakepop3.Close
				}
				return ""
			}
			s.Start(t)
			a := account(s.Address)
			s.Put(mail("one", "Envelope-To: anna@sakes.example"), mail("two", "Envelope-To: anna@sakes.example"), mail("two", "Envelope-To: anna@sakes.example"))
			_, _ = w.collect(a)
			if s.Placed { // another one is where the first was, of its size
				s.Put(mail("new", "Envelope-To: anna@sakes.example"), mail("old", "Envelope-To: anna@sakes.example"))
			}
			s.Put(mail("six", "Envelope-To: anna@sakes.example"), mail("ten", "Envelope-To: anna@sakes.example"))
			for range 3 {
				if _, err := w.collect(a); err != nil {
					t.Error(err)
				}
			}
			if s.Placed {
				w.expect("anna", "new old one six ten two two")
			} else {
				w.expect("anna", "one six ten two two")
			}
			left(t, s, 0)
		})
	}
}

// TestNumbersStay: where the numbers of the session are the unique-ids, another message of the same size is another one.
func TestNumbersStay(t *testing.T) {
	w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), (&fakepop3.Server{Numbered: true}).Start(t)
	a := account(s.Address)
	a.LeaveForEver = true
	for _, text := range []string{"one", "two"} {
		s.Take(func(string) bool { return true })
		s.Put(mail(text, "Envelope-To: anna@sakes.example"))
		for range 2 {
			if _, err := w.collect(a); err != nil {
				t.Error(err)
			}
		}
	}
	w.expect("anna", "one two")
}

// TestOtherIDs: a message that has an id of another kind in the next session, as it is alone then, is the one that was taken, also
// where it could not be read at once, or was not taken whole.
func TestOtherIDs(t *testing.T) {
	for _, begins := range []string{"taken", "begun"} {
		t.Run(begins, func(t *testing.T) {
			w := newWorld(t, state.Options{Folder: databases.Folder(t)})
			ctx, end := context.WithCancel(t.Context())
			defer end()
			s := (&fakepop3.Server{SameUID: true, Reply: func(session int, c string) string {
				switch {
				case session == 1 && c == "QUIT":
					return fakepop3.Close
				case session == 2 && c == "RETR 1":
					return "-ERR not now\r\n"
				}
				return ""
			}}).Start(t)
			if begins == "begun" {
				w.after = func() { end(); w.after = nil; w.dead() }
			}
			a := account(s.Address)
			s.Put(mail("one", "Envelope-To: anna@sakes.example"), mail("two", "Envelope-To: bert@sakes.example"))
			_, _ = w.run(ctx, a)
			w.c = w.collector(t)
			s.Take(func(text string) bool { return strings.Contains(text, "Subject: two") })
			for range 3 {
				if _, err := w.collect(a); err != nil {
					t.Error(err)
				}
				w.clock = w.clock.Add(time.Hour)
			}
			w.expect("anna", "one")
			left(t, s, 0)
		})
	}
}

// TestStays: what is to stay for some days does, and is removed then; whatever the server calls it meanwhile it does not come again.
func TestStays(t *testing.T) {
	for name, s := range map[string]*fakepop3.Server{"": {}, "without TOP": {NoTOP: true}, "without unique-ids": {NoUIDL: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, state.Options{Folder: databases.Folder(t)})
			s.Start(t)
			a := account(s.Address)
			a.Leave = 3 * 24 * time.Hour
			s.Put(mail("one", "Envelope-To: anna@sakes.example"), mail("two", "Envelope-To: bert@sakes.example"))
			for day := range 3 {
				if _, err := w.collect(a); err != nil {
					t.Error(err)
				}
				left(t, s, 2+min(day, 1))
				if day == 0 {
					s.Renumber()
					s.Put(mail("later", "Envelope-To: anna@sakes.example"))
				}
				w.clock = w.clock.Add(24 * time.Hour)
			}
			if _, err := w.collect(a); err != nil {
				t.Error(err)
			}
			left(t, s, 1)
			w.expect("anna", "later one")
			w.expect("bert", "two")
			a.LeaveForEver = true
			w.clock = w.clock.Add(1000 * 24 * time.Hour)
			if _, err := w.collect(a); err != nil {
				t.Error(err)
			}
			left(t, s, 1)
		})
	}
}

// TestOneBadMessage: what is wrong with one message costs it alone: it stays, is told, and is tried again.
func TestOneBadMessage(t *testing.T) {
	bad := func(c string) bool { return strings.HasPrefix(c, "RETR 2") }
	for name, test := range map[string]struct {
		server *fakepop3.Server
		text   string
		left   int
	}{
		"the server does not give it": {server: &fakepop3.Server{Reply: func(_ int, c string) string {
			if bad(c) {
				return "-ERR [SYS/TEMP] cannot read it\r\n"
			}
			return ""
		}}, left: 1},
		"the connection breaks at it": {server: &fakepop3.Server{Content: func(_ int, stuffed string) string {
			if strings.Contains(stuffed, "Subject: bad") {
				return stuffed[:len(stuffed)/2] // and then it is silent
			}
			return stuffed
		}}, left: 1},
		"it is too large": {server: &fakepop3.Server{}, text: strings.Repeat("x\r\n", 360_000), left: 1},
		"it is too large, and the server says that it is not": {
			server: &fakepop3.Server{Size: func(string) int64 { return 10 }}, text: strings.Repeat("x\r\n", 360_000), left: 1,
		},
		"it has come back":               {server: &fakepop3.Server{}, text: traceField + ": office at mail.sakes.example\r\n", left: 1},
		"it has passed too many servers": {server: &fakepop3.Server{}, text: strings.Repeat("Received: x\r\n", 101), left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, state.Options{Folder: databases.Folder(t)})
			test.server.Start(t)
			a := account(test.server.Address)
			a.Secure.Timeout = 200 * time.Millisecond
			text := mail("bad", "Envelope-To: anna@sakes.example")
			if strings.HasPrefix(test.text, "x") {
				text += test.text
			} else {
				text = test.text + text
			}
			test.server.Put(mail("one", "Envelope-To: anna@sakes.example"), text, mail("two", "Envelope-To: bert@sakes.example"))
			for range 2 {
				_, _ = w.collect(a)
			}
			w.expect("anna", "one")
			w.expect("bert", "two")
			left(t, test.server, test.left)
			aside, err := Aside(t.Context(), w.db, a.Name)
			if err != nil || len(aside) != 1 || aside[0].Reason == "" || !aside[0].Again.After(w.clock) {
				t.Errorf("%+v, %v", aside, err)
			}
			if test.left = test.server.Retrieved(); test.left > 12 {
				t.Errorf("%d messages were read", test.left)
			}
		})
	}
}

// TestRefused: what its recipient refuses for good goes to the fall-back mailbox, and without one stays at the source. What is
// refused for now stays, and the rest is not read.
func TestRefused(t *testing.T) {
	w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), (&fakepop3.Server{}).Start(t)
	a := account(s.Address)
	a.Fallback = ""
	s.Put(mail("one", "Envelope-To: carl@sakes.example"), mail("two"), mail("three", "Envelope-To: anna@sakes.example"))
	if count, err := w.collect(a); err != nil || count.Aside != 2 || count.Delivered != 1 {
		t.Errorf("%+v, %v", count, err)
	}
	left(t, s, 2)
	a.Fallback = "post@sakes.example"
	w.clock = w.clock.Add(2 * time.Hour)
	if count, err := w.collect(a); err != nil || count.Fallback != 2 {
		t.Errorf("%+v, %v", count, err)
	}
	w.expect("post", "one two")
	left(t, s, 0)

	s.Put(mail("again", "Envelope-To: anna@sakes.example"))
	w.refuse = func(backends.Delivery) error { return backends.Fail(backends.Temporary, "the store is down") }
	if _, err := w.collect(a); err != nil {
		t.Error(err)
	}
	w.refuse = nil
	if count, err := w.collect(a); err != nil || count.Read != 0 {
		t.Errorf("before its time: %+v, %v", count, err)
	}
	w.asked = true
	if count, err := w.collect(a); err != nil || count.Delivered != 1 {
		t.Errorf("as somebody wants it: %+v, %v", count, err)
	}
	w.asked = false
	w.refuse = func(backends.Delivery) error { return backends.Fail(backends.Temporary, "the store is down") }
	for n := range 10 {
		s.Put(mail(fmt.Sprint("n", n), "Envelope-To: anna@sakes.example"))
	}
	count, err := w.collect(a)
	if kindOf(err) != kindStore || count.Read != refusalsMost {
		t.Errorf("%+v, %v", count, err)
	}
	w.refuse = nil
	w.clock = w.clock.Add(2 * time.Hour)
	if _, err := w.collect(a); err != nil {
		t.Error(err)
	}
	left(t, s, 0)
	w.expect("anna", "again n0 n1 n2 n3 n4 n5 n6 n7 n8 n9 three")
}

// TestLoopByMessageID: a message that comes again and again is not taken for ever.
func TestLoopByMessageID(t *testing.T) {
	w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), (&fakepop3.Server{}).Start(t)
	a := account(s.Address)
	for n := range 15 {
		s.Put(mail("same", "Envelope-To: anna@sakes.example", fmt.Sprintf("X-Number: %d", n)))
	}
	if count, err := w.collect(a); err != nil || count.Delivered != comesMost || count.Aside != 5 {
		t.Errorf("%+v, %v", count, err)
	}
	left(t, s, 5)
}

// TestLongRun: a run of several sessions goes to its end, and no further than it may.
func TestLongRun(t *testing.T) {
	w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), (&fakepop3.Server{}).Start(t)
	a := account(s.Address)
	a.To, a.RunMost = "anna@sakes.example", sessionMost+50
	for n := range sessionMost + 100 {
		s.Put(mail(fmt.Sprint("n", n)))
	}
	if count, err := w.collect(a); err != nil || count.Read != sessionMost+50 || s.Sessions() != 2 {
		t.Errorf("%+v, %v, %d sessions", count, err, s.Sessions())
	}
	left(t, s, 50)
}

// TestBrokenSessions: a server that breaks each longer session comes to its end, though nothing is removed that it does not confirm.
func TestBrokenSessions(t *testing.T) {
	for name, s := range map[string]*fakepop3.Server{"": {}, "without unique-ids": {NoUIDL: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, state.Options{Folder: databases.Folder(t)})
			var mu sync.Mutex
			commands := make(map[int]int) // by session
			s.Reply = func(session int, _ string) string {
				mu.Lock()
				defer mu.Unlock()
				if commands[session]++; commands[session] > 60 {
					return fakepop3.Close
				}
				return ""
			}
			s.Start(t)
			a := account(s.Address)
			for n := range 150 {
				s.Put(mail(fmt.Sprint("n", n), "Envelope-To: anna@sakes.example"))
			}
			for range 3 {
				_, _ = w.collect(a)
			}
			left(t, s, 0)
			if n := len(w.store.Messages("anna", "")); n != 150 {
				t.Errorf("%d messages", n)
			}
		})
	}
}

// TestStore: a mail store is collected from by the contract, and another UIDVALIDITY doubles nothing.
func TestStore(t *testing.T) {
	w := newWorld(t, state.Options{Folder: databases.Folder(t)})
	w.source = newStore(t)
	a := account("imap.example:993")
	a.Protocol, a.Leave = IMAP, time.Hour
	put := func(source *memstore.Store, texts ...string) {
		for _, text := range texts {
			if _, err := source.Put("anna", "", []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	one, two := mail("one", "Envelope-To: anna@sakes.example"), mail("two", "Envelope-To: bert@sakes.example")
	put(w.source, one, two)
	if count, err := w.collect(a); err != nil || count.Delivered != 2 || count.Removed != 0 {
		t.Errorf("%+v, %v", count, err)
	}
	w.source = newStore(t)
	put(w.source, mail("new"), two, one)
	if count, err := w.collect(a); err != nil || count.Delivered+count.Fallback != 1 || count.Known != 2 {
		t.Errorf("%+v, %v", count, err)
	}
	w.clock = w.clock.Add(2 * time.Hour)
	if count, err := w.collect(a); err != nil || count.Removed != 3 || len(w.source.Messages("anna", "")) != 0 {
		t.Errorf("%+v, %v", count, err)
	}
	w.expect("anna", "one")
	w.expect("bert", "two")
	w.expect("post", "new")
}

// TestLogin: a password that is refused is not tried until the server locks the account.
func TestLogin(t *testing.T) {
	for reply, want := range map[string]struct {
		kind    string
		tries   int
		blocked bool
	}{
		"-ERR [AUTH] wrong\r\n":        {kindLogin, 1, true},
		"-ERR wrong\r\n":               {kindLogin, 3, true},
		"-ERR [IN-USE] busy\r\n":       {kindInUse, 3, false},
		"-ERR [LOGIN-DELAY] later\r\n": {kindLater, 3, false},
		"-ERR [SYS/TEMP] down\r\n":     {kindServer, 3, false},
	} {
		t.Run(want.kind, func(t *testing.T) {
			s := (&fakepop3.Server{Reply: func(_ int, c string) string {
				if strings.HasPrefix(c, "PASS") {
					return reply
				}
				return ""
			}}).Start(t)
			w := newWorld(t, state.Options{Folder: databases.Folder(t)})
			for n := 1; n <= want.tries; n++ {
				_, err := w.collect(account(s.Address))
				pause, blocked := backOff(err, n)
				if kindOf(err) != want.kind || blocked != (want.blocked && n == want.tries) || pause <= 0 || strings.Contains(err.Error(), "secret") {
					t.Errorf("%d: %v, %s, %v", n, err, pause, blocked)
				}
			}
		})
	}
}

// TestKeeper: an account is collected by its schedule, at once when somebody wants it, and not while it is blocked, which other settings
// end.
func TestKeeper(t *testing.T) {
	var password sync.Map
	password.Store("is", "old")
	s := (&fakepop3.Server{Reply: func(_ int, c string) string {
		if is, _ := password.Load("is"); strings.HasPrefix(c, "PASS") && c != "PASS "+is.(string) {
			return "-ERR [AUTH] wrong\r\n"
		}
		return ""
	}}).Start(t)
	w := newWorld(t, state.Options{Folder: databases.Folder(t)})
	a := account(s.Address)
	a.Schedule.Every = time.Hour
	w.c.Use([]*Account{a})
	status := func(c *Collector, f func(Status) bool) Status {
		t.Helper()
		var last Status
		for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
			all, err := c.All(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			if last = all[0]; f(last) && !last.Running {
				return last
			}
		}
		t.Fatalf("%+v", last)
		return last
	}
	if got := status(w.c, func(s Status) bool { return s.Ended == 1 }); !got.Blocked || got.Kind != kindLogin || got.Secret == "" || got.Next.Sub(w.clock) != blockedFor {
		t.Errorf("%+v", got)
	}
	w.c.Close()
	w.c = w.collector(t)
	w.c.Use([]*Account{a}) // another process, the same settings
	until, err := w.c.Start(t.Context(), []string{"office"})
	if err != nil || until["office"] != 2 {
		t.Fatal(until, err)
	}
	status(w.c, func(s Status) bool { return s.Ended == 2 })
	if n := s.Count("PASS"); n != 2 {
		t.Errorf("%d logins", n)
	}
	password.Store("is", "secret")
	changed := *a
	changed.Settings = "2"
	w.c.Use([]*Account{&changed})
	if got := status(w.c, func(s Status) bool { return s.Ended == 3 }); got.Blocked || got.Failures != 0 || got.Well.IsZero() {
		t.Errorf("%+v", got)
	}
	if _, err := w.c.Start(t.Context(), []string{"other"}); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

// TestOneGateway: of two gateways on one database one collects an account.
func TestOneGateway(t *testing.T) {
	w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), (&fakepop3.Server{}).Start(t)
	lock, err := w.locks.Acquire(t.Context(), leaseOf("office"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.collect(account(s.Address)); backends.KindOf(err) != backends.InUse || s.Sessions() != 0 {
		t.Errorf("%v, %d sessions", err, s.Sessions())
	}
	lock.Release()
}

// TestHostOf: a server's address stands in the trace as a name or a literal.
func TestHostOf(t *testing.T) {
	for at, want := range map[string]string{"pop.far.example:995": "pop.far.example", "192.0.2.7:110": "[192.0.2.7]", "[2001:db8::7]:995": "[IPv6:2001:db8::7]"} {
		if got := hostOf(at); got != want {
			t.Errorf("%s is from %s, want %s", at, got, want)
		}
	}
}
