//go:build linux

package imap_test

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestMailutils is what GNU Mailutils can do: it has no UIDPLUS, answers a part past the end without a value,
// and takes a UID that is gone for another message's. Whether a flag is there in the next
// session is not certain, so that there is one session at a time here, and the suite is not for it.
func TestMailutils(t *testing.T) {
	t.Parallel()
	server := peers.StartMailutils(t, nil)
	m := mailutils{t, server, configured(t, map[string]any{
		"address": server.IMAP, "tls": "none", "uidl": "dovecot",
		"connections": map[string]any{"keep": "0s"},
		"master":      map[string]any{"user": peers.FrontMaster, "password": peers.FrontMasterPassword},
		"delivery":    map[string]any{"append": true},
	})}
	contents := []string{
		"Subject: one\r\n\r\nbody\r\n",
		"Subject: dots\r\n\r\n.\r\n..\r\n.dot\r\n",
		"Subject: octets\r\n\r\n" + octets() + "\r\n",
		"Subject: in parts\r\n\r\n" + strings.Repeat("a line of some length\r\n", 4000),
		"Subject: the last\r\n\r\nbody of the last\r\n",
	}
	first := m.file("Subject: a file\r\n\r\nbody of a file\r\n")
	for i, content := range contents {
		m.deliver(content, i, false)
	}
	m.deliver(contents[1], 1, true) // which is there, and comes once
	contents = append([]string{first}, contents...)

	d, entries := m.open()
	m.serves(d, entries, contents)
	m.close(d)

	d, again := m.open()
	m.same(again, entries)
	for _, disposal := range []backends.Disposal{backends.DisposalRemove, backends.DisposalTrash} {
		if _, err := d.Remove(t.Context(), ids(again[:1]), disposal); backends.KindOf(err) != backends.Unsupported {
			t.Errorf("without UIDPLUS, disposal %v fails with %v", disposal, err)
		}
	}
	middle, last := again[2].ID, again[5].ID
	m.mark(d, middle, last)
	m.close(d)
	m.expunge("3,6")
	entries, contents = slices.Concat(entries[:2], entries[3:5]), slices.Concat(contents[:2], contents[3:5])

	d, again = m.open()
	m.same(again, entries)
	m.mark(d, last)
	m.mark(d, middle, last)
	if err := d.(backends.Marker).MarkSeen(t.Context(), []backends.MessageID{again[1].ID, middle, last}); err != nil {
		t.Error(err)
	}
	m.close(d)

	d, again = m.open()
	m.same(again, entries)
	m.serves(d, again, contents)
	m.close(d)
}

// mailutils is a store in front of the server.
type mailutils struct {
	*testing.T
	server *peers.Fronted
	store  *imap.Store
}

func octets() string {
	var all []byte
	for c := 1; c < 256; c++ {
		if c != '\r' && c != '\n' {
			all = append(all, byte(c))
		}
	}
	return string(all)
}

func (m mailutils) deliver(content string, key int, retry bool) {
	m.Helper()
	m.server.Wait()
	d := backends.Delivery{Key: "mailutils-" + string(rune('a'+key)), Retry: retry, Recipients: backends.To(password.User)}
	verdicts, err := m.store.Deliver(m.Context(), d, strings.NewReader(content))
	if err != nil || verdicts[0].Failure != nil {
		m.Fatalf("%.20q: %v, %v", content, verdicts, err)
	}
}

// file puts a message into the mailbox as a file, as a local delivery agent does.
func (m mailutils) file(content string) string {
	m.Helper()
	name := filepath.Join(m.server.Dir, password.User, "INBOX", "new", "1.first.host")
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(content, "\r\n", "\n")), 0o600); err != nil {
		m.Fatal(err)
	}
	if err := os.Chmod(name, 0o666); err != nil { // whatever the umask: the server is another user
		m.Fatal(err)
	}
	return content
}

func (m mailutils) open() (backends.Maildrop, []backends.Entry) {
	m.Helper()
	m.server.Wait()
	d := openInbox(m.T, m.store)
	return d, list(m.T, d)
}

func (m mailutils) close(d backends.Maildrop) {
	m.Helper()
	if err := d.Close(); err != nil {
		m.Error(err)
	}
}

var inFront = regexp.MustCompile(`^(Return-Path: <>\r\nDipylon-Delivery-Key: mailutils-.\r\n)?$`)

// serves wants each message whole, and its top.
func (m mailutils) serves(d backends.Maildrop, entries []backends.Entry, contents []string) {
	m.Helper()
	if len(entries) != len(contents) {
		m.Fatalf("%d messages are listed, and %d are there", len(entries), len(contents))
	}
	for i, content := range contents {
		got, err := fetch(m.T, d, entries[i].ID)
		front, whole := strings.CutSuffix(got, content)
		if err != nil || !whole || !inFront.MatchString(front) {
			m.Errorf("%.20q comes as %.100q, of %d octets (%v)", content, got, len(got), err)
		}
		top, err := d.Fetch(m.Context(), backends.FetchRequest{ID: entries[i].ID, Top: true, Lines: 1})
		if err != nil {
			m.Fatal(err)
		}
		header, body, _ := strings.Cut(content, "\r\n\r\n")
		line, _, _ := strings.Cut(body, "\r\n")
		if got := read(m.T, top); got != front+header+"\r\n\r\n"+line+"\r\n" {
			m.Errorf("the top of %.20q is %.100q", content, got)
		}
	}
}

// same wants the same messages, by id and unique-id.
func (m mailutils) same(got, want []backends.Entry) {
	m.Helper()
	unique := func(e backends.Entry) string { return string(e.ID) + " " + e.UIDL }
	if !slices.EqualFunc(got, want, func(a, b backends.Entry) bool { return unique(a) == unique(b) }) {
		m.Fatalf("the list is %+v, wanted %+v", got, want)
	}
}

func (m mailutils) mark(d backends.Maildrop, ids ...backends.MessageID) {
	m.Helper()
	removals, err := d.Remove(m.Context(), ids, backends.DisposalMark)
	if err != nil || slices.ContainsFunc(removals, func(r backends.Removal) bool { return r.Failure != nil }) {
		m.Errorf("marking %q: %v, %v", ids, removals, err)
	}
}

// expunge is another client that removes messages. It speaks without a library, as the server answers EXPUNGED.
func (m mailutils) expunge(numbers string) {
	m.Helper()
	m.server.Wait()
	c := harness.Dial(m.T, m.server.IMAP, nil)
	defer c.Close()
	for _, command := range []string{"LOGIN " + password.User + " " + string(password.Secret), "SELECT INBOX", "STORE " + numbers + ` +FLAGS (\Deleted)`, "EXPUNGE", "LOGOUT"} {
		c.Send("a %s", command)
		line := c.Line()
		for !strings.HasPrefix(line, "a ") {
			line = c.Line()
		}
		if !strings.HasPrefix(line, "a OK") {
			m.Fatalf("%s: %s", command, line)
		}
	}
}

func ids(entries []backends.Entry) (all []backends.MessageID) {
	for _, e := range entries {
		all = append(all, e.ID)
	}
	return all
}

func read(t *testing.T, c backends.Content) string {
	t.Helper()
	defer c.Close()
	octets, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	return string(octets)
}
