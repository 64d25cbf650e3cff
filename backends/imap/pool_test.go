package imap_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/fakeimap"
)

// likeCourier is a server that has no UNSELECT, and takes no APPEND while a mailbox is selected
// read-only.
func likeCourier(f *fakeimap.Server, caps string) *fakeimap.Server {
	f.Caps = caps
	examined := make(map[int]bool)
	count := 0
	f.On = append(f.On,
		fakeimap.Rule{Command: "^GREETING", Make: func(_, _, right string) string { count++; return right }},
		fakeimap.Rule{Command: "^EXAMINE", Make: func(_, _, right string) string { examined[count] = true; return right }},
		fakeimap.Rule{Command: "^(CLOSE|SELECT|UNSELECT)", Make: func(_, _, right string) string { examined[count] = false; return right }},
		fakeimap.Rule{Command: "^APPEND", Make: func(tag, _, right string) string {
			if examined[count] {
				return tag + " NO the mailbox is open read-only\r\n"
			}
			return right
		}})
	return f
}

// TestNothingSelected: what looks into a folder leaves none selected, by UNSELECT or, where the folder
// was opened read-only, by CLOSE; a connection with a folder selected is not used again.
func TestNothingSelected(t *testing.T) {
	t.Parallel()
	keeper := map[string]any{"master": map[string]any{"user": "keeper", "password": "keeper-secret"}, "delivery": map[string]any{"append": true}}
	for name, tt := range map[string]struct {
		caps  string
		rules []fakeimap.Rule
		conns int
	}{
		"UNSELECT":         {fakeimap.Caps, nil, 1},
		"CLOSE":            {"IMAP4rev1 UIDPLUS AUTH=PLAIN SASL-IR", nil, 1},
		"neither":          {"IMAP4rev1 UIDPLUS AUTH=PLAIN SASL-IR", []fakeimap.Rule{on("CLOSE", "TAG BAD no\n")}, 2},
		"UNSELECT refused": {fakeimap.Caps, []fakeimap.Rule{on("UNSELECT", "TAG BAD no\n")}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, likeCourier(&fakeimap.Server{On: tt.rules}, tt.caps))
			s := storeOf(t, f, keeper)
			d := backends.Delivery{Key: "again", Recipients: backends.To("ada@peer.example"), Retry: true, Size: int64(len(one))}
			verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(one))
			if err != nil || verdicts[0].Failure != nil {
				t.Fatalf("the retry is not delivered: %v %v", err, verdicts)
			}
			if got := f.Appended(); len(got) != 1 || !strings.HasSuffix(got[0], one) {
				t.Errorf("appended is %q", got)
			}
			if f.Accepted() != tt.conns {
				t.Errorf("it took %d connections, not %d: %q", f.Accepted(), tt.conns, f.Heard(""))
			}
		})
	}
}

// TestMaildropIsNotClosed: CLOSE removes what is marked as deleted (RFC 9051 §6.4.1): it is never said
// to a mailbox that was opened for a session.
func TestMaildropIsNotClosed(t *testing.T) {
	t.Parallel()
	f := twoMessages()
	f.Caps = "IMAP4rev1 UIDPLUS AUTH=PLAIN"
	s := storeOf(t, fakeimap.Start(t, f), nil)
	for range 2 {
		d := openInbox(t, s)
		list(t, d)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if said := f.Heard("CLOSE"); len(said) > 0 || f.Accepted() != 2 {
		t.Errorf("it said %q on %d connections", said, f.Accepted())
	}
}

// TestExpungeRefused: a message that could not be removed has no mark of it left: it would disappear
// from every list.
func TestExpungeRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rules    []fakeimap.Rule
		disposal backends.Disposal
		caps     string
		kind     backends.Kind
	}{
		"NO":            {[]fakeimap.Rule{on("UID EXPUNGE", "TAG NO [NOPERM] not yours\n")}, backends.DisposalRemove, fakeimap.Caps, backends.Permanent},
		"BAD":           {[]fakeimap.Rule{on("UID EXPUNGE", "TAG BAD no\n")}, backends.DisposalRemove, fakeimap.Caps, backends.Temporary},
		"OK":            {[]fakeimap.Rule{{Command: "^UID EXPUNGE", Answer: "TAG ok without an effect\n"}, on("UID SEARCH UID 4", "* SEARCH 4\nTAG OK done\n")}, backends.DisposalRemove, fakeimap.Caps, backends.Temporary},
		"after a copy":  {[]fakeimap.Rule{on("UID EXPUNGE", "TAG NO [NOPERM] not yours\n")}, backends.DisposalTrash, "IMAP4rev1 UIDPLUS SPECIAL-USE AUTH=PLAIN", backends.Permanent},
		"and forbidden": {[]fakeimap.Rule{on("UID EXPUNGE", "TAG NO no\n"), {Command: `^UID STORE .*-FLAGS`, Answer: "TAG NO no\n"}}, backends.DisposalRemove, fakeimap.Caps, backends.Permanent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := twoMessages()
			f.Caps, f.On = tt.caps, tt.rules
			s := storeOf(t, fakeimap.Start(t, f), nil)
			d := openInbox(t, s)
			list(t, d)
			removals, err := d.Remove(t.Context(), []backends.MessageID{"7.4"}, tt.disposal)
			kind := backends.KindOf(err)
			if err == nil && removals[0].Failure != nil {
				kind = removals[0].Failure.Kind
			}
			if kind != tt.kind {
				t.Errorf("it is told as %v (%v, %v)", kind, err, removals)
			}
			if name != "and forbidden" && f.Deleted(4) {
				t.Errorf("the mark is left: %q", f.Heard("UID STORE"))
			}
			if f.Deleted(1) {
				t.Error("another message is marked")
			}
		})
	}
}

// TestNotSearched: where UID SEARCH is refused after an EXPUNGE, what is left is found out in another
// way, and what was removed is told as removed. Where nothing can be found out, no mark is left.
func TestNotSearched(t *testing.T) {
	t.Parallel()
	search, look := on("UID SEARCH", "TAG NO not now\n"), on("UID FETCH 4,6 (UID RFC822.SIZE)", "TAG NO not now\n")
	ineffective := on("UID EXPUNGE", "TAG ok without an effect\n")
	for name, tt := range map[string]struct {
		rules    []fakeimap.Rule
		disposal backends.Disposal
		removed  bool
		left     int
	}{
		"removed":              {[]fakeimap.Rule{search}, backends.DisposalRemove, true, 3},
		"moved":                {[]fakeimap.Rule{search}, backends.DisposalTrash, true, 3},
		"BAD":                  {[]fakeimap.Rule{on("UID SEARCH", "TAG BAD what\n")}, backends.DisposalRemove, true, 3},
		"not removed":          {[]fakeimap.Rule{search, ineffective}, backends.DisposalRemove, false, 5},
		"nothing can be known": {[]fakeimap.Rule{search, look, ineffective}, backends.DisposalRemove, false, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, fiveMessages())
			s := storeOf(t, f, nil)
			d := openInbox(t, s)
			list(t, d)
			f.Set(tt.rules...)
			removals, err := d.Remove(t.Context(), []backends.MessageID{"7.4", "7.6"}, tt.disposal)
			if said := err == nil && removals[0].Failure == nil && removals[1].Failure == nil; said != tt.removed {
				t.Errorf("it is told as %v (%v)", removals, err)
			}
			_ = d.Close()
			if listed := len(list(t, openInbox(t, s))); listed != tt.left {
				t.Errorf("%d messages are listed, not %d", listed, tt.left)
			}
		})
	}
}

// TestLeftIsBounded: what a server sends unasked, when it is asked what a removal has left, is not taken
// into memory, whatever its length.
func TestLeftIsBounded(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, fiveMessages())
	d := openInbox(t, storeOf(t, f, nil))
	list(t, d)
	f.Set(on("UID SEARCH", "TAG NO not now\n"), on("UID FETCH 4,6 (UID RFC822.SIZE)", "* 2 FETCH (UID 4 BODY[] {1000000}\n"+strings.Repeat("x", 1_000_000)+")\nTAG OK\n"))
	removals, err := d.Remove(t.Context(), []backends.MessageID{"7.4", "7.6"}, backends.DisposalRemove)
	if backends.KindOf(err) != backends.Temporary {
		t.Errorf("it is told as %v (%v)", removals, err)
	}
}

// TestRemovalIsLost: a connection that ends in the middle of a removal leaves no message that is
// there, marked, and in no list.
func TestRemovalIsLost(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rule    fakeimap.Rule
		removed bool
	}{
		"at EXPUNGE":                {fakeimap.Rule{Command: "^UID EXPUNGE", Drop: true, Times: 1}, true},
		"after STORE":               {fakeimap.Rule{Command: "^UID STORE", Answer: "TAG OK done\nCLOSE", Times: 1}, true},
		"after a BYE":               {fakeimap.Rule{Command: "^UID EXPUNGE", Answer: "* BYE going down\nCLOSE", Times: 1}, true},
		"after EXPUNGE":             {fakeimap.Rule{Command: "^UID EXPUNGE", Make: func(_, _, _ string) string { return "" }, Close: true, Times: 1}, true},
		"before it is asked about":  {fakeimap.Rule{Command: "^UID SEARCH", Drop: true, Times: 1}, true},
		"at each EXPUNGE":           {fakeimap.Rule{Command: "^UID EXPUNGE", Drop: true}, false},
		"at each EXPUNGE, by a BYE": {fakeimap.Rule{Command: "^UID EXPUNGE", Answer: "* BYE going down\nCLOSE"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, fiveMessages())
			s := storeOf(t, f, nil)
			d := openInbox(t, s)
			list(t, d)
			f.Set(tt.rule)
			removals, err := d.Remove(t.Context(), []backends.MessageID{"7.4", "7.6"}, backends.DisposalRemove)
			if said := err == nil && removals[0].Failure == nil && removals[1].Failure == nil; said != tt.removed {
				t.Errorf("it is told as %v (%v)", removals, err)
			}
			_ = d.Close()
			there := 0
			f.Change(func(f *fakeimap.Server) { there = len(f.Messages) })
			if listed := len(list(t, openInbox(t, s))); listed != there || tt.removed != (there == 3) {
				t.Errorf("%d messages are there, and %d are listed", there, listed)
			}
		})
	}
}

// TestNoUIDPlusIsSaid: once, at the first login, with what to set.
func TestNoUIDPlusIsSaid(t *testing.T) {
	t.Parallel()
	for caps, want := range map[string]int{"IMAP4rev1 AUTH=PLAIN": 1, "IMAP4rev1 AUTH=PLAIN MOVE": 1, fakeimap.Caps: 0, "IMAP4rev2 AUTH=PLAIN": 0} {
		var log bytes.Buffer
		s := imap.New(imap.WithLogger(zerolog.New(zerolog.SyncWriter(&log))))
		configureFor(t, s, fakeimap.Start(t, &fakeimap.Server{Caps: caps}), map[string]any{"connections": map[string]any{"keep": "0s"}})
		for range 2 {
			if _, err := s.Login(t.Context(), password); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Count(log.String(), "UIDPLUS"); got != want {
			t.Errorf("with %q it is said %d times: %s", caps, got, log.String())
		}
	}
}

// TestFirstCause: whoever meets a connection that has ended is told why it did.
func TestFirstCause(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rule fakeimap.Rule
		want string
	}{
		"closed by the server": {fakeimap.Rule{Command: "^UID FETCH 1:", Drop: true}, "EOF"},
		"with a BYE":           {on("UID FETCH 1:", "* BYE Autologout; idle for too long\nCLOSE"), "Autologout"},
		"no response":          {on("UID FETCH 1:", "what is this\nTAG OK\n"), "what"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := twoMessages()
			f.On = []fakeimap.Rule{tt.rule}
			d := openInbox(t, storeOf(t, fakeimap.Start(t, f), map[string]any{"uidl": "header:X-UIDL"}))
			for _, err := range d.List(t.Context()) {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("the list fails with %v", err)
				}
			}
			f.Set(fakeimap.Rule{Command: "^(AUTHENTICATE|LOGIN)", Answer: "TAG NO [UNAVAILABLE] away\n"})
			for range 2 {
				_, err := d.Remove(t.Context(), []backends.MessageID{"7.4"}, backends.DisposalMark)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("what comes after it fails with %v", err)
				}
			}
		})
	}
}

// TestDrain: a process that another one has replaced keeps no connection that is not in use. What there
// is before is counted.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, twoMessages())
	s := storeOf(t, f, nil)
	busy, idle := openInbox(t, s), openInbox(t, s)
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	f.Until(t, "a connection is kept", func() bool { return f.Open() == 2 })
	if err := openInbox(t, s).Close(); err != nil { // over the kept connection
		t.Fatal(err)
	}
	for _, m := range s.Metrics() {
		want := map[string]float64{"connections": 2, "kept_connections": 1, "logins": 2, "reused_connections": 1}[m.Name]
		if m.Value != want {
			t.Errorf("%s is %v, want %v", m.Name, m.Value, want)
		}
	}
	s.Drain()
	f.Until(t, "it is closed", func() bool { return f.Open() == 1 })
	if got := list(t, busy); len(got) != 2 {
		t.Errorf("the session under way lists %+v", got)
	}
	if err := busy.Close(); err != nil {
		t.Fatal(err)
	}
	f.Until(t, "the session's connection is not kept", func() bool { return f.Open() == 0 })
}
