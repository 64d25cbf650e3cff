package imap_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/fakeimap"
)

const one, two = "Subject: one\r\n\r\none\r\n", "Subject: two\r\n\r\ntwo, longer\r\n"

func twoMessages() *fakeimap.Server {
	return &fakeimap.Server{Messages: []fakeimap.Message{{UID: 1, Content: one}, {UID: 4, Content: two}}}
}

// TestRead is the plain way, and what the server is asked on it.
func TestRead(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, twoMessages())
	d := openInbox(t, storeOf(t, f, map[string]any{"folder": "Archive", "uidl": "dovecot"}))
	entries := list(t, d)
	if len(entries) != 2 || entries[1].ID != "7.4" || entries[1].Size != int64(len(two)) || entries[1].UIDL != "0000000400000007" {
		t.Fatalf("the list is %+v", entries)
	}
	if got, err := fetch(t, d, "7.4"); got != two || err != nil {
		t.Errorf("the message is %q (%v)", got, err)
	}
	if f.Heard("SELECT")[0] != `SELECT "Archive"` && f.Heard("SELECT")[0] != "SELECT Archive" {
		t.Errorf("it said %q", f.Heard("SELECT"))
	}
	for _, command := range f.Heard("UID FETCH") {
		if strings.Contains(command, "BODY[") {
			t.Errorf("%q marks the message as read", command)
		}
	}
}

// TestFolders: a path's parts are joined by the server's own delimiter.
func TestFolders(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, twoMessages())
	d, err := storeOf(t, f, nil).Open(t.Context(), backends.OpenRequest{Credential: password, Folder: "shared/office/INBOX"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := strings.Join(f.Heard("SELECT"), " "); !strings.Contains(got, "shared.office.INBOX") {
		t.Errorf("it said %q", got)
	}
}

// TestSizes: what is told as an exact size is what comes. The sizes of a server are taken for
// exact while most of those that were looked at are, and never again looked at after some.
func TestSizes(t *testing.T) {
	t.Parallel()
	odd := func(uid int) fakeimap.Message {
		return fakeimap.Message{UID: uid, Content: "Subject: x\r\n\r\nno end"}
	}
	letters := func(n int) (all []fakeimap.Message) {
		for i := range n {
			all = append(all, fakeimap.Message{UID: i + 1, Content: letterOf(100 + 1000*i)})
		}
		return all
	}
	for name, tt := range map[string]struct {
		off      int64
		messages []fakeimap.Message
		exact    int  // entries, in the first session
		store    bool // the store's sizes count as exact, in the end
		looked   int  // messages read to know that, in three sessions
	}{
		"true":                            {0, letters(9), 9, true, 3},
		"true, few messages":              {0, letters(2), 2, true, 4},
		"too large":                       {2, letters(9), 0, false, 3},
		"too small":                       {-2, letters(9), 0, false, 3},
		"one without a last CRLF":         {0, append(letters(8), odd(9)), 8, true, 6},
		"each without a last CRLF":        {0, []fakeimap.Message{odd(1), odd(2), odd(3)}, 0, false, 3},
		"one message, without a last one": {0, []fakeimap.Message{odd(1)}, 0, false, 2},
		"no messages":                     {0, nil, 0, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, &fakeimap.Server{SizeOff: tt.off, Messages: tt.messages})
			s := storeOf(t, f, nil)
			for session := range 3 {
				d := openInbox(t, s)
				exact := 0
				for i, e := range list(t, d) {
					if e.Exact {
						exact++
					}
					if want := canonicalOf(tt.messages[i].Content); e.Exact && e.Size != int64(len(want)) {
						t.Errorf("of %s it is said that it has exactly %d octets; it has %d", e.ID, e.Size, len(want))
					}
				}
				if session == 0 && exact != tt.exact {
					t.Errorf("%d sizes are told as exact, not %d", exact, tt.exact)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
			looked := 0
			for _, command := range f.Heard("UID FETCH") {
				if strings.Contains(command, "[]<0.") {
					looked++
				}
			}
			if looked != tt.looked {
				t.Errorf("to look, it read %d messages, not %d", looked, tt.looked)
			}
			if described, _ := s.Describe(t.Context()); described.ExactSizes != tt.store {
				t.Errorf("the store says that its sizes are exact: %v", described.ExactSizes)
			}
		})
	}
}

// TestReplaced: a UIDVALIDITY that changes in mid-session ends the session. What is fetched
// then may be another message, and nothing is removed.
func TestReplaced(t *testing.T) {
	t.Parallel()
	for name, news := range map[string]string{
		"before the message": "* OK [UIDVALIDITY 8] made anew\n* 2 FETCH (UID 4 BODY[]<0> {5}\nhello)\nTAG OK\n",
		"instead of it":      "* OK [UIDVALIDITY 8] made anew\nTAG OK\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := twoMessages()
			f.On = []fakeimap.Rule{on("UID FETCH 4 ", news)}
			d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
			list(t, d)
			_, err := fetch(t, d, "7.4")
			wantReplaced(t, "fetching", err)
			_, err = d.Remove(t.Context(), []backends.MessageID{"7.1"}, backends.DisposalRemove)
			wantReplaced(t, "removing", err)
			_, err = fetch(t, d, "7.1")
			wantReplaced(t, "fetching another", err)
			if said := append(f.Heard("UID STORE"), f.Heard("UID EXPUNGE")...); len(said) != 0 {
				t.Errorf("it said %q to another mailbox", said)
			}
		})
	}
}

func wantReplaced(t *testing.T, what string, err error) {
	t.Helper()
	if backends.KindOf(err) != backends.Temporary || !strings.Contains(err.Error(), "its UIDVALIDITY was 7 and is 8") {
		t.Errorf("%s fails with %v", what, err)
	}
}

// TestBrokenOff: whatever ends an answer early, the message is not told to be whole (I3), and
// the next session works.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ answer, detail string }{
		"in the message":        {"* 2 FETCH (UID 4 BODY[]<0> {30}\nSubject: two\nCLOSE", "EOF"},
		"before it":             {"CLOSE", "EOF"},
		"with a BYE":            {"* BYE [UNAVAILABLE] shutting down\nCLOSE", "shutting down"},
		"a shorter message":     {"* 2 FETCH (UID 4 BODY[]<0> {5}\nshort)\nTAG OK\n", "gives 5 of them"},
		"a literal too large":   {"* 2 FETCH (UID 4 BODY[]<0> {40000}\n" + strings.Repeat("x", 40000) + ")\nTAG OK\n", "40000 octets for 32768"},
		"a refusal":             {"TAG NO [UNAVAILABLE] disk\n", "disk"},
		"what is no answer":     {"* 2 FETCH (UID 4 BODY[]<0> what\nTAG OK\n", ""},
		"a literal without end": {"* 2 FETCH (UID 4 BODY[]<0> {99999999999}\nxxx\nCLOSE", "99999999999 octets for 32768"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := twoMessages()
			f.On = []fakeimap.Rule{on("UID FETCH 4 ", tt.answer)}
			s := storeOf(t, fakeimap.Start(t, f), nil)
			d := openInbox(t, s)
			list(t, d)
			got, err := fetch(t, d, "7.4")
			if kind := backends.KindOf(err); kind != backends.Temporary && kind != backends.Poison || !strings.Contains(err.Error(), tt.detail) {
				t.Errorf("it gives %q and fails with %v, wanted a temporary failure with %q", got, err, tt.detail)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if got, err := fetch(t, openInbox(t, s), "7.1"); got != one || err != nil {
				t.Errorf("the next session gets %q (%v)", got, err)
			}
		})
	}
}

// TestTrashWithoutMove: where the server has no MOVE, a message is not removed before its copy
// is there.
func TestTrashWithoutMove(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		copies string
		kind   backends.Kind
		stores int
	}{
		"copied":    {"TAG OK copied\n", 0, 1},
		"full":      {"TAG NO [OVERQUOTA] full\n", backends.OverQuota, 0},
		"no folder": {"TAG NO [TRYCREATE] none\n", backends.NotFound, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := twoMessages()
			f.Caps = "IMAP4rev1 SASL-IR UIDPLUS SPECIAL-USE AUTH=PLAIN"
			f.On = []fakeimap.Rule{on("UID COPY", tt.copies)}
			d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
			_, err := d.Remove(t.Context(), []backends.MessageID{"7.4"}, backends.DisposalTrash)
			if backends.KindOf(err) != tt.kind {
				t.Errorf("it fails with %v", err)
			}
			if got := f.Heard("UID STORE"); len(got) != tt.stores {
				t.Errorf("it said %q", got)
			}
			if got := strings.Join(f.Heard("UID COPY"), " "); !strings.Contains(got, "Gone") {
				t.Errorf("it said %q; the folder that is marked is Gone", got)
			}
		})
	}
}

// TestNoUIDPlus: without UID EXPUNGE, what others have marked would be removed, too.
func TestNoUIDPlus(t *testing.T) {
	t.Parallel()
	f := twoMessages()
	f.Caps = "IMAP4rev1 AUTH=PLAIN"
	d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
	for _, disposal := range []backends.Disposal{backends.DisposalRemove, backends.DisposalTrash} {
		if _, err := d.Remove(t.Context(), []backends.MessageID{"7.4"}, disposal); backends.KindOf(err) != backends.Unsupported {
			t.Errorf("disposal %v fails with %v", disposal, err)
		}
		if _, err := d.Remove(t.Context(), nil, disposal); backends.KindOf(err) != backends.Unsupported {
			t.Errorf("asked for disposal %v it says %v", disposal, err)
		}
	}
	if _, err := d.Remove(t.Context(), nil, backends.DisposalMark); err != nil {
		t.Errorf("asked for marks it says %v", err)
	}
	if _, err := d.Remove(t.Context(), []backends.MessageID{"7.4"}, backends.DisposalMark); err != nil {
		t.Errorf("marking fails with %v", err)
	}
	if got := append(f.Heard("EXPUNGE"), f.Heard("UID COPY")...); len(got) != 0 {
		t.Errorf("it said %q", got)
	}
}

// TestKeepAlive: a session that is idle says NOOP.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, twoMessages())
	d := openInbox(t, storeOf(t, f, map[string]any{"connections": map[string]any{"noop": "20ms"}}))
	f.Until(t, "three times NOOP", func() bool { return len(f.Heard("NOOP")) >= 3 })
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestPool: an account's connections are counted, a kept one is used again by the same
// credential alone, and makes room where all are taken.
func TestPool(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, twoMessages())
	s := storeOf(t, f, map[string]any{"connections": map[string]any{"per_account": 1, "total": 2, "keep": "1m"}})
	d := openInbox(t, s)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Open(short, backends.OpenRequest{Credential: password}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second session of the account fails with %v", err)
	}
	bob, eve := password, password
	bob.User, eve.User = "bob@peer.example", "eve@peer.example"
	if _, err := s.Login(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Login(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	if got := f.Heard("AUTHENTICATE"); len(got) != 2 {
		t.Errorf("two accounts logged in with %d commands", len(got))
	}
	wrong := bob
	wrong.Secret = []byte("another")
	f.Set(on("AUTHENTICATE", "TAG NO wrong\n"))
	if _, err := s.Login(t.Context(), wrong); backends.KindOf(err) != backends.BadCredentials {
		t.Errorf("another password on a kept connection: %v", err)
	}
	f.Set()
	held, err := s.Open(t.Context(), backends.OpenRequest{Credential: eve})
	if err != nil {
		t.Fatalf("a kept connection makes no room: %v", err)
	}
	if _, err := s.Login(t.Context(), bob); backends.KindOf(err) != backends.Throttled {
		t.Errorf("beyond the total: %v", err)
	}
	for _, drop := range []backends.Maildrop{d, held} {
		if err := drop.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	f.Until(t, "all connections closed", func() bool { return f.Open() == 0 })
}

// TestKeptConnectionsGrowOld: using a kept connection again and again does not keep a login good for
// ever, and a changed password ends what the old one has opened.
func TestKeptConnectionsGrowOld(t *testing.T) {
	t.Parallel()
	login := func(t *testing.T, s backends.Store, secret string) {
		t.Helper()
		c := password
		c.Secret = []byte(secret)
		if _, err := s.Login(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("by age", func(t *testing.T) {
		t.Parallel()
		f := fakeimap.Start(t, twoMessages())
		s := storeOf(t, f, map[string]any{"connections": map[string]any{"keep": "1h", "age": "300ms"}})
		begin := time.Now()
		for len(f.Heard("AUTHENTICATE")) < 2 {
			login(t, s, "ada-secret")
			if time.Since(begin) > time.Minute {
				t.Fatal("the connection is used for ever")
			}
		}
		if age := time.Since(begin); age < 300*time.Millisecond {
			t.Errorf("it was given up after %v", age)
		}
	})
	t.Run("by a password that was changed while it was in use", func(t *testing.T) {
		t.Parallel()
		f := fakeimap.Start(t, twoMessages())
		s := storeOf(t, f, map[string]any{"connections": map[string]any{"keep": "1h"}})
		opened := openInbox(t, s)
		login(t, s, "new")
		if err := opened.Close(); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"new", string(password.Secret)} {
			login(t, s, secret)
		}
		if got := f.Heard("AUTHENTICATE"); len(got) != 3 {
			t.Errorf("it logged in %d times, and not with the old password again", len(got))
		}
	})
	t.Run("by a changed password", func(t *testing.T) {
		t.Parallel()
		f := fakeimap.Start(t, twoMessages())
		s := storeOf(t, f, map[string]any{"connections": map[string]any{"keep": "1h"}})
		for _, secret := range []string{"old", "old", "new", "old"} {
			login(t, s, secret)
		}
		if got := f.Heard("AUTHENTICATE"); len(got) != 3 {
			t.Errorf("it logged in %d times, and not with the old password again", len(got))
		}
	})
}

// TestUIDLHeader: the unique-id that a migration has written is told.
func TestUIDLHeader(t *testing.T) {
	t.Parallel()
	f := twoMessages()
	field := "X-UIDL: 0000002b653a1f0c\r\n\r\n"
	items := "UID %d FLAGS () RFC822.SIZE 28 BODY[HEADER.FIELDS (X-UIDL)]<0> {%d}\n%s"
	f.On = []fakeimap.Rule{on("UID FETCH 1:*", fmt.Sprintf("* 1 FETCH ("+items+")\n* 2 FETCH ("+items+")\nTAG OK\n", 1, len(field), field, 4, 2, "\r\n"))}
	d := openInbox(t, storeOf(t, fakeimap.Start(t, f), map[string]any{"uidl": "header:X-UIDL"}))
	entries := list(t, d)
	if len(entries) != 2 || entries[0].UIDL != "0000002b653a1f0c" || entries[1].UIDL != "" {
		t.Errorf("the list is %+v", entries)
	}
}

// TestManyParts: a long message is asked for in parts, several at once, and arrives whole.
func TestManyParts(t *testing.T) {
	t.Parallel()
	long := "Subject: long\r\n\r\n" + strings.Repeat("a line of some length\r\n", 100_000)
	f := fakeimap.Start(t, &fakeimap.Server{Messages: []fakeimap.Message{{UID: 1, Content: long}, {UID: 2, Content: one}}})
	d := openInbox(t, storeOf(t, f, nil))
	list(t, d)
	c, err := d.Fetch(t.Context(), backends.FetchRequest{ID: "7.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f.Until(t, "the second part asked for", func() bool { return len(f.Heard("UID FETCH 1 (UID BODY.PEEK[]<32768.")) == 1 })
	octets, err := io.ReadAll(c)
	if string(octets) != long || err != nil {
		t.Errorf("%d octets came of %d (%v)", len(octets), len(long), err)
	}
	top, err := d.Fetch(t.Context(), backends.FetchRequest{ID: "7.1", Top: true, Lines: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	before := len(f.Heard("UID FETCH 1 "))
	if octets, err := io.ReadAll(top); string(octets) != "Subject: long\r\n\r\na line of some length\r\n" || err != nil {
		t.Errorf("the top is %q (%v)", octets, err)
	}
	if after := len(f.Heard("UID FETCH 1 ")); after != before {
		t.Errorf("the top took %d parts more", after-before)
	}
}
