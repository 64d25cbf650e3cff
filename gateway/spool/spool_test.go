//go:build linux

package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// start opens a spool of its own on a database, until the test's end. It does not look for what other nodes
// have taken in: whose row is not written yet would be looked at in vain.
func start(t testing.TB, o state.Options, change ...func(*Options)) *Spool {
	t.Helper()
	options := Options{Log: zerolog.New(zerolog.NewTestWriter(t)), DB: databases.Open(t, o), Folder: t.TempDir(), Reserve: 1, Poll: time.Hour, deaf: true}
	for _, f := range change {
		f(&options)
	}
	s, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// to makes a message to addresses; a destination is what follows the @.
func to(key string, addresses ...string) Message {
	m := Message{Key: key, Envelope: backends.Envelope{From: "ada@sakes.example"}, Received: time.UnixMicro(1_800_000_000_000_000).UTC()}
	for _, address := range addresses {
		_, domain, _ := strings.Cut(address, "@")
		m.Recipients = append(m.Recipients, Recipient{Recipient: backends.Recipient{Address: address}, Destination: domain})
	}
	return m
}

func accept(t testing.TB, s *Spool, m Message, content string) {
	t.Helper()
	body := full(t, buffer.Options{}, content)
	defer body.Discard() //nolint:errcheck // it is in memory, or a test's
	if err := s.Accept(t.Context(), m, body); err != nil {
		t.Fatal(err)
	}
}

func full(t testing.TB, o buffer.Options, content string) *buffer.Buffer {
	t.Helper()
	body, err := buffer.Fill(o, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// next is the destination that is given out next, which must be soon.
func next(t testing.TB, s *Spool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	destination, err := s.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return destination
}

func claim(t testing.TB, s *Spool, destination string, most int) []*Delivery {
	t.Helper()
	deliveries, err := s.Claim(t.Context(), destination, most)
	if err != nil {
		t.Fatal(err)
	}
	return deliveries
}

// one claims the one delivery that there is. What another gateway has taken in may be due some milliseconds later by this one's
// reckoning of the server's clock.
func one(t testing.TB, s *Spool, destination string) *Delivery {
	t.Helper()
	deliveries := claim(t, s, destination, 10)
	for deadline := time.Now().Add(time.Minute); len(deliveries) == 0 && s.db.Shared() && time.Now().Before(deadline); {
		deliveries = claim(t, s, destination, 10)
	}
	if len(deliveries) != 1 {
		t.Fatalf("there are %d deliveries", len(deliveries))
	}
	return deliveries[0]
}

func settle(t testing.TB, s *Spool, results ...Result) {
	t.Helper()
	if err := s.Settle(t.Context(), results...); err != nil {
		t.Fatal(err)
	}
}

// all gives each recipient of a delivery the same outcome.
func all(d *Delivery, o Outcome) Result {
	r := Result{Delivery: d}
	for _, p := range d.Recipients {
		o.Number = p.Number
		r.Outcomes = append(r.Outcomes, o)
	}
	return r
}

func textOf(t testing.TB, d *Delivery) string {
	t.Helper()
	opened, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	octets, err := io.ReadAll(opened)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

// count is how many rows a table has.
func count(t testing.TB, s *Spool, table string) (n int) {
	t.Helper()
	if err := s.db.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// everything has a value in each field.
func everything() Message {
	received := time.UnixMicro(1_800_000_000_123_456).UTC()
	return Message{
		Key: "KEY-1",
		Envelope: backends.Envelope{
			From: "ädä@sakes.example", ID: "env+id", Return: backends.ReturnHeaders, Body: backends.Body8BitMIME,
			SMTPUTF8: true, RequireTLS: true, Priority: -3,
			DeliverBy: backends.DeliverBy{Until: received.Add(time.Hour), Return: true, Trace: true},
			Submitter: backends.Submitter{Store: "sakes", Account: "ada", Address: "ada@sakes.example"},
		},
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Received: received, Expires: received.Add(120 * time.Hour),
		Peer: backends.Peer{Address: "[2001:db8::1]:25", Protocol: "smtp", TLS: true, Session: "s-1"},
		Recipients: []Recipient{{
			Recipient: backends.Recipient{
				Address: "bøb@example.org", Notify: backends.NotifySuccess | backends.NotifyDelay, OriginalRecipient: "rfc822;bob@example.net",
			},
			Destination: "example.org",
		}, {Recipient: backends.Recipient{Address: "eve@example.org", Notify: backends.NotifyNever}, Destination: "example.org", State: Uncertain}},
	}
}

// TestKeyThatIsThere (I1): under a key that is there a message is taken in once, and not as if it were for others.
func TestKeyThatIsThere(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		m := everything()
		accept(t, s, m, "a message\r\n")
		accept(t, s, m, "a message\r\n")
		m.Recipients = m.Recipients[1:]
		accept(t, s, m, "a message\r\n")
		m.Recipients = append(m.Recipients, Recipient{Recipient: backends.Recipient{Address: "max@example.org"}, Destination: "example.org"})
		body := full(t, buffer.Options{}, "a message\r\n")
		if err := s.Accept(t.Context(), m, body); backends.KindOf(err) != backends.Temporary {
			t.Errorf("a message for others is told as taken in: %v", err)
		}
		if messages, recipients := count(t, s, "spool_messages"), count(t, s, "spool_recipients"); messages != 1 || recipients != 2 {
			t.Errorf("there are %d messages for %d recipients", messages, recipients)
		}
	})
}

// TestKeyThatIsRemembered (I2): under a key that is to be remembered a message is taken in once, although the first one
// has left, until the time is over.
func TestKeyThatIsRemembered(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		begin := time.Now()
		var later atomic.Int64 // the sweep asks for the time, too
		s := start(t, o, func(o *Options) { o.Now = func() time.Time { return begin.Add(time.Duration(later.Load())) } })
		m := to("k", "bob@example.org")
		m.Remembered = begin.Add(time.Hour)
		for range 2 {
			accept(t, s, m, "a message\r\n")
		}
		if n := handled(t, s.Delete, Filter{}); n != 1 {
			t.Fatalf("%d are taken in", n)
		}
		accept(t, s, m, "a message\r\n")
		m.Recipients = append(m.Recipients, m.Recipients[0])
		m.Recipients[1].Address = "eve@example.org"
		accept(t, s, m, "a message\r\n")
		if n := count(t, s, "spool_messages"); n != 0 {
			t.Error("a message that has left comes again under a key that is remembered")
		}
		sweep := func() {
			if err := s.sweepRemembered(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		sweep()
		if n := count(t, s, "spool_remembered"); n != 1 {
			t.Error("a key is forgotten before its time")
		}
		later.Store(int64(2*time.Hour + sweepEvery))
		sweep()
		accept(t, s, m, "a message\r\n")
		if n := count(t, s, "spool_messages"); n != 1 {
			t.Error("a key is remembered for ever")
		}
	})
}

// TestMemoryOfFresh (I11): what waits in memory has no more room than its length says.
func TestMemoryOfFresh(t *testing.T) {
	s := start(t, state.Options{Folder: databases.Folder(t)})
	for _, size := range []int{1, 200, 5000, 9000, 100_000} {
		_, kept, err := s.keep(t.Context(), full(t, buffer.Options{}, strings.Repeat("x", size)))
		if err != nil || len(kept.body) != size || cap(kept.body) > size+size/2+64 {
			t.Errorf("%d octets have room for %d: %v", len(kept.body), cap(kept.body), err)
		}
	}
}

// TestFreshIsBounded (I11): what is held in memory because it was just taken in is within its bound, whichever of a
// message's destinations have been handed out and however many recipients it has; beyond it nothing is left out.
func TestFreshIsBounded(t *testing.T) {
	const bound, size, many = 10_000, 2000, 10
	s := start(t, state.Options{Folder: databases.Folder(t)}, func(o *Options) { o.FreshOctets = bound })
	for i := range many {
		accept(t, s, to(fmt.Sprint(i), "a@x.example", "b@y.example"), strings.Repeat("x", size))
		one(t, s, "x.example")
	}
	crowd := to("crowd")
	for i := range 100 {
		crowd.Recipients = append(crowd.Recipients, to("", fmt.Sprintf("%d@z.example", i)).Recipients...)
	}
	accept(t, s, crowd, "text")
	held, recipients := 0, 0
	s.schedule.mu.Lock()
	for _, d := range s.schedule.destinations {
		for _, f := range d.queue {
			held += len(f.delivery.body)
			recipients += len(f.delivery.Recipients)
		}
	}
	s.schedule.mu.Unlock()
	if held == 0 || held > bound || recipients > many {
		t.Errorf("%d octets and %d recipients are held", held, recipients)
	}
	if got := len(claim(t, s, "y.example", 2*many)); got != many {
		t.Errorf("%d were claimed", got)
	}
	if got := len(one(t, s, "z.example").Recipients); got != 100 {
		t.Errorf("%d recipients were claimed", got)
	}
	if s.schedule.octets != 0 || s.schedule.messages != 0 {
		t.Errorf("after all were claimed, %d octets of %d messages are counted", s.schedule.octets, s.schedule.messages)
	}
}

// TestRoundTrip: every field of a message comes out as it went in, from memory and from the database.
func TestRoundTrip(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		for place, text := range map[string]string{
			"row": "a message\r\n", "none": "", "large": strings.Repeat("0123456789abcdef", 50<<10),
		} {
			s := start(t, o)
			m := everything()
			accept(t, s, m, text)
			if n := next(t, s); n != "example.org" {
				t.Fatalf("%q is ready", n)
			}
			fresh := one(t, s, "example.org")
			compare(t, place+" fresh", m, text, fresh)
			again := fresh.Recipients[0].State
			settle(t, s, all(fresh, Outcome{State: again}))
			settled := one(t, s, "example.org")
			for i := range m.Recipients {
				m.Recipients[i].State = again
			}
			compare(t, place+" read", m, text, settled)
			settle(t, s, all(settled, Outcome{State: Delivered, At: time.Now()}))
			for _, table := range []string{"spool_messages", "spool_recipients", "spool_chunks"} {
				if n := count(t, s, table); n != 0 {
					t.Errorf("%s: %d rows of %s are left", place, n, table)
				}
			}
			s.Done("example.org", time.Time{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func compare(t *testing.T, what string, m Message, text string, d *Delivery) {
	t.Helper()
	recipients := m.Recipients
	m.Recipients = nil
	if !reflect.DeepEqual(d.Message, m) {
		t.Errorf("%s: the message was\n%+v and is\n%+v", what, m, d.Message)
	}
	for i, r := range recipients {
		if got := d.Recipients[i]; got.Recipient != r || got.Number != i || got.Attempts != 0 {
			t.Errorf("%s: a recipient was\n%+v and is\n%+v", what, r, got)
		}
	}
	if got := textOf(t, d); got != text || d.Size != int64(len(text)) || d.Of != len(recipients) {
		t.Errorf("%s: %d of %d octets are there, of %d recipients", what, len(got), len(text), d.Of)
	}
}

// TestStates: what a recipient becomes by each outcome, and what is remembered of its attempts.
func TestStates(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		accept(t, s, to("k", "a@x.example", "b@x.example", "c@x.example", "d@x.example", "e@x.example"), "text")
		d := one(t, s, "x.example")
		at := time.UnixMicro(1_800_000_001_000_000).UTC()
		first := Outcome{At: at, Code: "4.2.1", Server: "mx.x.example", Diagnostic: "smtp; 450 4.2.1 later", Delayed: true}
		outcomes := []Outcome{{State: Delivered}, {State: Failed}, {State: Held}, {State: Uncertain}, {State: Waiting}}
		for i := range outcomes {
			state := outcomes[i].State
			outcomes[i] = first
			outcomes[i].State, outcomes[i].Number = state, i
		}
		settle(t, s, Result{Delivery: d, Outcomes: outcomes})
		again := one(t, s, "x.example")
		if len(again.Recipients) != 2 || again.Recipients[0].State != Uncertain || again.Recipients[1].State != Waiting {
			t.Fatalf("there are %+v", again.Recipients)
		}
		first.Number = 4
		if got := again.Recipients[1]; got.Attempts != 1 || got.Last != first {
			t.Errorf("it is remembered: %+v", got)
		}
		// Given back without an attempt, all stays as it was; a delay that was told stays told.
		settle(t, s, all(again, Outcome{State: Waiting}))
		again = one(t, s, "x.example")
		if got := again.Recipients[1]; got.Attempts != 1 || got.Last != first {
			t.Errorf("after it was given back it is remembered: %+v", got)
		}
		settle(t, s, all(again, Outcome{State: Waiting, At: at}))
		again = one(t, s, "x.example")
		if got := again.Recipients[1]; got.Attempts != 2 || !got.Last.Delayed || got.Last.Code != "" {
			t.Errorf("after the second attempt it is remembered: %+v", got)
		}
		settle(t, s, all(again, Outcome{State: Failed, At: at}))
		if n := count(t, s, "spool_messages"); n != 1 {
			t.Errorf("with one recipient held there are %d messages", n)
		}
	})
}

// TestOnce: what was claimed is not claimed again, what waits is not claimed before its time, and a key
// that is there already makes no second copy.
func TestOnce(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		for range 3 {
			accept(t, s, to("k", "a@x.example"), strings.Repeat("x", 200<<10))
		}
		d := one(t, s, "x.example")
		if more := claim(t, s, "x.example", 10); len(more) > 0 {
			t.Errorf("it was claimed again: %+v", more)
		}
		settle(t, s, all(d, Outcome{State: Waiting, At: time.Now(), Until: time.Now().Add(time.Hour)}))
		if more := claim(t, s, "x.example", 10); len(more) > 0 {
			t.Errorf("it was claimed before its time: %+v", more)
		}
		if got := textOf(t, d); len(got) != 200<<10 {
			t.Errorf("%d octets are there", len(got))
		}
		if err := s.Settle(t.Context(), all(d, Outcome{State: Delivered, At: time.Now()})); !errors.Is(err, ErrLease) {
			t.Errorf("settled twice: %v", err)
		}
	})
}

// TestPriority: the highest goes first, and the oldest in each, from memory and from the database.
func TestPriority(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		for _, fresh := range []int{1, 1000} { // how many are handed out from memory
			s := start(t, o, func(o *Options) { o.FreshMessages = fresh })
			for i, priority := range []int{0, -9, 9, 0, 4, 9} {
				m := to(fmt.Sprint("k", i), "a@x.example")
				m.Envelope.Priority = priority
				accept(t, s, m, "text")
			}
			var keys []string
			for {
				deliveries := claim(t, s, "x.example", 2)
				for _, d := range deliveries {
					keys = append(keys, d.Key)
					settle(t, s, all(d, Outcome{State: Delivered}))
				}
				if len(deliveries) == 0 {
					break
				}
			}
			if got := fmt.Sprint(keys); got != "[k2 k5 k4 k0 k3 k1]" {
				t.Errorf("with %d in memory the order is %s", fresh, got)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestNotice: a new message is taken in with an outcome or not at all.
func TestNotice(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		accept(t, s, to("k", "a@x.example", "b@y.example"), "text")
		d := one(t, s, "x.example")
		notice := New{Message: to("n", "ada@sakes.example"), Body: full(t, buffer.Options{}, "sorry")}
		bad := notice
		bad.Recipients = nil
		r := all(d, Outcome{State: Failed, At: time.Now()})
		r.New = []New{notice, bad}
		if err := s.Settle(t.Context(), r); err == nil || errors.Is(err, ErrLease) {
			t.Errorf("a notice without a recipient: %v", err)
		}
		if n := count(t, s, "spool_messages"); n != 1 {
			t.Errorf("there are %d messages", n)
		}
		r.New = []New{notice}
		settle(t, s, r)
		if got := textOf(t, one(t, s, "sakes.example")); got != "sorry" {
			t.Errorf("the notice says %q", got)
		}
		// The other recipient's end is the message's.
		settle(t, s, all(one(t, s, "y.example"), Outcome{State: Delivered, At: time.Now()}))
		if n := count(t, s, "spool_messages"); n != 1 {
			t.Errorf("there are %d messages", n)
		}
	})
}

// TestRefused: what the databases cannot hold is an error, and nothing of it is there.
func TestRefused(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		for name, change := range map[string]func(m *Message){
			"no key":         func(m *Message) { m.Key = "" },
			"no recipients":  func(m *Message) { m.Recipients = nil },
			"no destination": func(m *Message) { m.Recipients[0].Destination = "" },
			"in flight":      func(m *Message) { m.Recipients[0].State = InFlight },
			"not UTF-8":      func(m *Message) { m.Envelope.From = "\xff@sakes.example" },
			"a null":         func(m *Message) { m.Recipients[0].Address = "a\x00@x.example" },
		} {
			m := to("k", "a@x.example")
			change(&m)
			if err := s.Accept(t.Context(), m, full(t, buffer.Options{}, "text")); err == nil {
				t.Errorf("%s: it was taken in", name)
			}
		}
		if n := count(t, s, "spool_messages"); n != 0 {
			t.Errorf("there are %d messages", n)
		}
	})
}

// TestAdopted: a file of the spool's own is the message's, not a copy of it, and goes with it.
func TestAdopted(t *testing.T) {
	s := start(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	text := strings.Repeat("x", 300<<10)
	body := full(t, buffer.Options{Storage: s.Storage()}, text)
	before := body.File().(*file)
	if err := s.Accept(t.Context(), to("k", "a@x.example"), body); err != nil {
		t.Fatal(err)
	}
	if err := body.Discard(); err != nil {
		t.Fatal(err)
	}
	d := one(t, s, "x.example")
	if d.ID != before.id || textOf(t, d) != text {
		t.Errorf("the file of %s became that of %s", before.id, d.ID)
	}
	if left := filesOf(t, s); len(left) != 1 {
		t.Errorf("there are %q", left)
	}
	settle(t, s, all(d, Outcome{State: Delivered}))
	if left := filesOf(t, s); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
	body = full(t, buffer.Options{Storage: s.Storage()}, text)
	if err := body.Discard(); err != nil || len(filesOf(t, s)) != 0 {
		t.Errorf("what was discarded: %v, %q", err, filesOf(t, s))
	}
}

// TestSeek: a large message in parts is read from any place.
func TestSeek(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		text := bytes.Repeat([]byte("0123456789abcdefg"), 40<<10)
		accept(t, s, to("k", "a@x.example"), string(text))
		opened, err := one(t, s, "x.example").Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		for _, at := range []int64{int64(len(text)), chunkSize - 1, 0, 2*chunkSize + 7} {
			if _, err := opened.Seek(at, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(opened); err != nil || !bytes.Equal(got, text[at:]) {
				t.Errorf("from %d: %d octets, %v", at, len(got), err)
			}
		}
	})
}
