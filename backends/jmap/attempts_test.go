//go:build linux

package jmap_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

const (
	one = "one@far.example"
	two = "two@far.example"
)

// TestRetriesAskForEachRecipient: that a message was sent to one of its recipients says nothing of
// another. Whoever was not sent it is sent it at the next attempt, whoever was is not sent it again,
// and of whom it is not known that is told.
func TestRetriesAskForEachRecipient(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*outbox)
		first   [][]string // recipients of each batch of the first attempt, while two is deferred
		again   []string
		restart bool // of the store, which knows nothing then but what the server says
		told    string
		copies  string
	}{
		"the deferred one alone":                  {nil, [][]string{{one, two}}, []string{two}, false, "ok", "one 1, two 1"},
		"the deferred one alone, after a restart": {nil, [][]string{{one, two}}, []string{two}, true, "ok", "one 1, two 1"},
		"both again":                                       {nil, [][]string{{one, two}}, []string{one, two}, false, "ok, ok", "one 1, two 1"},
		"both again, after a restart":                      {nil, [][]string{{one, two}}, []string{two, one}, true, "ok, ok", "one 1, two 1"},
		"over two batches":                                 {nil, [][]string{{one}, {two}}, []string{two}, false, "ok", "one 1, two 1"},
		"over two batches, after a restart":                {nil, [][]string{{one}, {two}}, []string{two}, true, "ok", "one 1, two 1"},
		"who had it, alone":                                {nil, [][]string{{one, two}}, []string{one}, true, "ok", "one 1, two 0"},
		"one who comes new":                                {nil, [][]string{{one, two}}, []string{"new@far.example", two}, true, "ok, ok", "one 1, two 1"},
		"submissions that are forgotten":                   {func(o *outbox) { o.forgets = true }, [][]string{{one, two}}, []string{two}, false, "ok", "one 1, two 1"},
		"submissions that are forgotten, after a restart":  {func(o *outbox) { o.forgets = true }, [][]string{{one, two}}, []string{two}, true, "uncertain", "one 1, two 0"},
		"only pending ones are kept, after a restart":      {func(o *outbox) { o.pending = true }, [][]string{{one, two}}, []string{one, two}, true, "ok, uncertain", "one 1, two 0"},
		"submissions cannot be asked for, after a restart": {func(o *outbox) { o.deaf = true }, [][]string{{one, two}}, []string{one, two}, true, "uncertain, uncertain", "one 1, two 0"},
		"nobody was sent it":                               {nil, [][]string{{two}}, []string{two}, true, "ok", "one 0, two 1"},
		"the answer is lost":                               {func(o *outbox) { o.drops = 1 }, [][]string{{one}}, []string{one}, false, "ok", "one 1, two 0"},
		"the answer is lost, after a restart":              {func(o *outbox) { o.drops = 1 }, [][]string{{one}}, []string{one, two}, true, "ok, ok", "one 1, two 1"},
		"the answer is lost, and they are forgotten":       {func(o *outbox) { o.drops, o.forgets = 1, true }, [][]string{{one}}, []string{one, two}, true, "uncertain, uncertain", "one 1, two 0"},
		"no mailbox for what was sent":                     {func(o *outbox) { o.boxes = o.boxes[:2] }, [][]string{{one, two}}, []string{one, two}, true, "ok, ok", "one 1, two 1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := startOutbox(t)
			deferred := two
			o.refuse = defers(&deferred)
			if c.change != nil {
				c.change(o)
			}
			s := o.store(t, map[string]any{"submission": true})
			for _, batch := range c.first {
				t.Logf("%v: %s", batch, o.send(t, s, backends.Delivery{Key: "the-key", Recipients: backends.To(batch...)}))
			}
			deferred = ""
			if c.restart {
				s = o.store(t, map[string]any{"submission": true})
			}
			told := o.send(t, s, backends.Delivery{Key: "the-key", Retry: true, Recipients: backends.To(c.again...)})
			if copies := o.copies(one, two); told != c.told || copies != c.copies {
				t.Errorf("the retry is told as %s, and were sent: %s; wanted %s, and %s", told, copies, c.told, c.copies)
			}
		})
	}
}

// TestKeyWithinAnother: the server finds what contains a text. A message whose key contains another
// key is not the other's.
func TestKeyWithinAnother(t *testing.T) {
	o := startOutbox(t)
	s := o.store(t, map[string]any{"submission": true})
	if got := o.send(t, s, backends.Delivery{Key: "key10", Recipients: backends.To(one)}); got != "ok" {
		t.Fatal(got)
	}
	if got := o.send(t, o.store(t, map[string]any{"submission": true}), backends.Delivery{Key: "key1", Retry: true, Recipients: backends.To(one)}); got != "ok" || o.copies(one) != "one 2" {
		t.Errorf("%s, and were sent: %s", got, o.copies(one))
	}
}

// TestWhatIsLeft: in the account is what was sent, once, and no draft of what was not.
func TestWhatIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		to       []string
		deferred string
		boxes    int // of the account
		first    string
		left     string // after the first attempt
		last     string // after the retry, for whom it was deferred
	}{
		"sent":                               {[]string{one}, "", 3, "ok", "sent in out", "sent in out"},
		"sent to one":                        {[]string{one, two}, two, 3, "ok, temporary", "sent in out", "sent in out"},
		"sent to nobody":                     {[]string{two}, two, 3, "temporary", "", "sent in out"},
		"sent, and no mailbox for it":        {[]string{one}, "", 2, "ok", "", ""},
		"sent to one, and no mailbox for it": {[]string{one, two}, two, 2, "ok, temporary", "sent in drafts", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := startOutbox(t)
			o.refuse, o.boxes = defers(&c.deferred), o.boxes[:c.boxes]
			s := o.store(t, map[string]any{"submission": true})
			d := backends.Delivery{Key: "the-key", Recipients: backends.To(c.to...)}
			if got, left := o.send(t, s, d), o.kept(); got != c.first || left != c.left {
				t.Errorf("%s, and left are %q; wanted %s, and %q", got, left, c.first, c.left)
			}
			if d.Retry = true; c.deferred != "" {
				d.Recipients, c.deferred = backends.To(c.deferred), ""
			}
			if got, left := o.send(t, s, d), o.kept(); got != "ok" || left != c.last {
				t.Errorf("the retry: %s, and left are %q; wanted %q", got, left, c.last)
			}
			for _, r := range c.to {
				if o.sent[r] != 1 {
					t.Errorf("%s was sent %d copies", r, o.sent[r])
				}
			}
		})
	}
}

// TestFilterThatIsNotObeyed: what a server finds instead of a delivery's message is not that: it is
// not sent in its place, and no sign that it was delivered.
func TestFilterThatIsNotObeyed(t *testing.T) {
	start := func(t *testing.T) *outbox {
		t.Helper()
		o := startOutbox(t)
		o.loose = true
		o.drafts["private"] = &message{"Subject: a draft of the user's own\r\n\r\n", map[string]bool{"$draft": true}, map[string]bool{"drafts": true}}
		return o
	}
	t.Run("nothing was sent", func(t *testing.T) {
		o := start(t)
		d := backends.Delivery{Key: "the-key", Retry: true, Recipients: backends.To(one)}
		if got := o.send(t, o.store(t, map[string]any{"submission": true}), d); got != "uncertain" || len(o.submissions) > 0 {
			t.Errorf("%s; submitted is %v", got, o.submissions)
		}
	})
	t.Run("one is deferred, and one not known", func(t *testing.T) {
		o := start(t)
		deferred := one
		o.refuse, o.forgets = defers(&deferred), false
		s := o.store(t, map[string]any{"submission": true})
		t.Log(o.send(t, s, backends.Delivery{Key: "the-key", Recipients: backends.To(one)}))
		o.drops = 1
		t.Log(o.send(t, s, backends.Delivery{Key: "the-key", Recipients: backends.To(two)}))
		deferred = ""
		t.Log(o.send(t, s, backends.Delivery{Key: "the-key", Retry: true, Recipients: backends.To(one, two)}))
		for _, sent := range o.submissions {
			if sent["emailId"] == "private" {
				t.Error("the user's own draft was sent")
			}
		}
	})
	t.Run("a delivery", func(t *testing.T) {
		o := start(t)
		s := o.store(t, map[string]any{"delivery": map[string]any{"accounts": map[string]string{user: secret}}})
		d := backends.Delivery{Key: "the-key", Retry: true, Recipients: backends.To(user)}
		verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(letter("x")))
		if err == nil && verdicts[0].Failure == nil && len(o.drafts) == 1 {
			t.Error("it is told as delivered, and is not there")
		}
	})
}

// TestRetryAfterItFailed: a recipient of whom a submission has come to nothing, for now, is sent the
// message by the next attempt, and not told the same for ever; one who was refused for good is.
func TestRetryAfterItFailed(t *testing.T) {
	for reply, want := range map[string]string{"552 5.2.2 full": "ok, and one 2", "550 5.1.1 nobody": "not found, and one 1"} {
		t.Run(reply, func(t *testing.T) {
			o := startOutbox(t)
			o.fails = map[string]string{one: reply}
			d := backends.Delivery{Key: "the-key", Recipients: backends.To(one)}
			t.Log(o.send(t, o.store(t, map[string]any{"submission": true}), d))
			s := o.store(t, map[string]any{"submission": true})
			d.Retry = true
			o.refuse = func([]string) map[string]any { o.fails = nil; return nil } // it works from now on
			if got := o.send(t, s, d) + ", and " + o.copies(one); got != want {
				t.Errorf("the retry: %s; wanted %s", got, want)
			}
		})
	}
}

// TestListIsCut: of whom a submission could be among those that the server has not listed, it is not
// known whether they were sent the message.
func TestListIsCut(t *testing.T) {
	o := startOutbox(t)
	s := o.store(t, map[string]any{"submission": true})
	for _, r := range []string{one, two} {
		if got := o.send(t, s, backends.Delivery{Key: "the-key", Recipients: backends.To(r)}); got != "ok" {
			t.Fatal(got)
		}
	}
	o.listed = 1
	got := o.send(t, o.store(t, map[string]any{"submission": true}), backends.Delivery{Key: "the-key", Retry: true, Recipients: backends.To(one, two)})
	if got != "ok, uncertain" || o.copies(one, two) != "one 1, two 1" {
		t.Errorf("%s, and were sent: %s", got, o.copies(one, two))
	}
}
