//go:build unix

package maildir

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/pickup"
)

// outboxOf is the folder of an account, with new, cur and tmp.
func (w *world) outboxOf(user string) string {
	w.t.Helper()
	a, err := parseAddress(user)
	if err != nil {
		w.t.Fatal(err)
	}
	dir := filepath.Join(boxDir(w.root, a), outboxFolder)
	for _, part := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, part), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

// drop puts a file into anna's outbox.
func (w *world) drop(name, content string) {
	w.t.Helper()
	writeFile(w.t, filepath.Join(w.outboxOf(anna), "new", name), content)
}

// handed is a message as the gateway has got it.
type handed struct {
	backends.Outgoing
	content string
	err     error // of reading it
}

// collect takes all that there is, and leaves it in its leases.
func (w *world) collect() (all []handed) {
	w.t.Helper()
	err := w.Collect(w.t.Context(), backends.CollectRequest{Lease: time.Hour}, func(_ context.Context, m backends.Outgoing, c backends.Content) error {
		text, err := io.ReadAll(c)
		all = append(all, handed{m, string(text), err})
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// one is collect of one message.
func (w *world) one() handed {
	w.t.Helper()
	all := w.collect()
	if len(all) != 1 {
		w.t.Fatalf("%d messages are handed over", len(all))
	}
	return all[0]
}

func (w *world) settleFor(m handed, recipients ...string) {
	w.t.Helper()
	s := backends.Settlement{ID: m.ID}
	for _, r := range recipients {
		s.Verdicts = append(s.Verdicts, backends.Verdict{Recipient: r})
	}
	if err := w.Settle(w.t.Context(), []backends.Settlement{s}); err != nil {
		w.t.Fatal(err)
	}
}

func newOutboxWorld(t *testing.T) *world { return newWorld(t, map[string]any{"outbox": true}) }

// TestOutgoingEnvelope: who sends a message from an outbox, and to whom.
func TestOutgoingEnvelope(t *testing.T) {
	many := strings.Repeat("X-Receiver: <a@far.example>\n", 3)
	for name, c := range map[string]struct {
		message, from string
		to            []string
	}{
		"header":      {"To: Bob <bob@far.example>, \"X, Y\" <eve@far.example>\nCc: zoe@far.example (a, b@c)\nBcc: max@far.example\n\nx\n", anna, []string{"bob@far.example", "eve@far.example", "zoe@far.example", "max@far.example"}},
		"group":       {"To: friends: a@far.example, <b@far.example>;, c@far.example\n\n", anna, []string{"a@far.example", "b@far.example", "c@far.example"}},
		"folded":      {"To: a@far.example,\n\tb@far.example\n\n", anna, []string{"a@far.example", "b@far.example"}},
		"local":       {"To: ben, root\n\n", anna, []string{"ben@sakes.example", "root@sakes.example"}},
		"quoted":      {"To: \"a, b\"@far.example, \"c\\\",d\" <e@far.example>\n\n", anna, []string{`"a, b"@far.example`, "e@far.example"}},
		"literal":     {"To: a@[IPv6:::1], b@far.example\n\n", anna, []string{"a@[ipv6:::1]", "b@far.example"}},
		"twice":       {"To: a@far.example\nCc: A <a@far.example>\n\n", anna, []string{"a@far.example"}},
		"no address":  {"To: a@@b, fine@far.example, a b@c\n\n", anna, []string{pickup.NotAnAddress, "fine@far.example"}},
		"resent":      {"Resent-To: new@far.example\nResent-Bcc: secret@far.example\nReceived: x\nResent-To: older@far.example\nTo: old@far.example\n\n", anna, []string{"new@far.example", "secret@far.example"}},
		"nobody":      {"Subject: x\n\nx\n", anna, []string{noRecipients}},
		"no header":   {"hello\nworld\n", anna, []string{noRecipients}},
		"nothing":     {"", anna, []string{noRecipients}},
		"bad header":  {"To: a@far.example\nno field\n\n", anna, []string{noRecipients}},
		"long header": {"To: a@far.example\nX: " + strings.Repeat(strings.Repeat("x", 99)+"\n ", 10_000) + "\n\n", anna, []string{noRecipients}},
		"CRLF":        {"X-Receiver: <a@far.example>\r\nTo: b@far.example\r\n\r\nx\r\n", anna, []string{"a@far.example"}},
		"envelope":    {"X-Sender: <info@sakes.example>\nX-Receiver: <a@far.example>\nx-receiver: b@far.example\nTo: c@far.example\n\n", "info@sakes.example", []string{"a@far.example", "b@far.example"}},
		"bad paths":   {"X-Receiver: nobody\nX-Receiver: <>\nX-Receiver: " + strings.Repeat("x", 3000) + "@far.example\nX-Receiver: <a@far.example>\nTo: c@far.example\n\n", anna, []string{pickup.NotAnAddress, "a@far.example"}},
		"repeated":    {many + "\nTo: c@far.example\n", anna, []string{"a@far.example"}},
		"null sender": {"X-Sender: <>\nTo: a@far.example\n\n", "", []string{"a@far.example"}},
		"null path":   {"Return-Path: <>\nTo: a@far.example\n\n", "", []string{"a@far.example"}},
		"alias":       {"From: Office <info@sakes.example>\nTo: a@far.example\n\n", "info@sakes.example", []string{"a@far.example"}},
		"detail":      {"Sender: anna+lists@sakes.example\nFrom: x@far.example\nTo: a@far.example\n\n", "anna+lists@sakes.example", []string{"a@far.example"}},
		"send as":     {"Return-Path: <sales@sakes.example>\nFrom: x@far.example\nTo: a@far.example\n\n", "sales@sakes.example", []string{"a@far.example"}},
		"another's":   {"X-Sender: <ben@sakes.example>\nTo: a@far.example\n\n", anna, []string{"a@far.example"}},
		"a stranger":  {"Return-Path: <boss@far.example>\nFrom: ben@sakes.example\nTo: a@far.example\n\n", anna, []string{"a@far.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOutboxWorld(t)
			w.drop("m", c.message)
			m := w.one()
			if m.From != c.from || !slices.Equal(backends.Addresses(m.Recipients), c.to) {
				t.Errorf("from %q to %q, want %q to %q", m.From, backends.Addresses(m.Recipients), c.from, c.to)
			}
			if strings.Contains(strings.ToLower(m.content), "x-receiver: <a") || strings.Contains(m.content, "X-Sender") {
				t.Errorf("the envelope goes out:\n%s", m.content)
			}
			w.settleFor(m, c.to...)
			if left := names(t, filepath.Join(w.outboxOf(anna), "cur")); len(left) > 0 {
				t.Errorf("%q is left", left)
			}
		})
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestOddParameters (I8): a parameter that cannot be sent on is left out, and the message goes.
func TestOddParameters(t *testing.T) {
	for _, text := range []string{"+FF", "a+0D+0AX: y", "+00", "\xff"} {
		w := newOutboxWorld(t)
		w.drop("m", "X-Sender: <"+anna+"> ENVID="+text+"\nX-Receiver: <a@far.example> ORCPT=rfc822;"+text+"\nX-Receiver: <b@far.example> ORCPT="+text+";b\n\nx\n")
		m := w.one()
		if m.Envelope.ID != "" || m.Recipients[0].OriginalRecipient+m.Recipients[1].OriginalRecipient != "" || m.From != anna || m.Recipients[0].Address != "a@far.example" {
			t.Errorf("%q: %+v", text, m.Outgoing)
		}
	}
}

// TestManyRecipients (I11): more than can be handed over are told as that, whichever way they are named.
func TestManyRecipients(t *testing.T) {
	var to, envelope strings.Builder
	to.WriteString("To: x@far.example")
	for i := range 100_000 {
		if i < 2*recipientsMost {
			fmt.Fprintf(&to, ",\n %d@far.example", i)
		}
		fmt.Fprintf(&envelope, "X-Receiver: <%d@far.example>\n", i)
	}
	for name, message := range map[string]string{"header": to.String() + "\n\n", "envelope": envelope.String() + "Subject: x\n\n"} {
		w := newOutboxWorld(t)
		w.drop("m", message)
		if got := backends.Addresses(w.one().Recipients); !slices.Equal(got, []string{pickup.TooManyRecipients}) {
			t.Errorf("%s: %d recipients", name, len(got))
		}
	}
}

// TestOddFiles: what is no message stays where it is, is told of once, and costs no other message anything.
func TestOddFiles(t *testing.T) {
	logged := make(lines, 100)
	w := newWorld(t, map[string]any{"outbox": true}, WithLogger(zerolog.New(logged)))
	fresh := filepath.Join(w.outboxOf(anna), "new")
	for name, odd := range map[string]func(string) error{
		"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link":   func(path string) error { return os.Symlink("/etc/passwd", path) },
	} {
		if err := odd(filepath.Join(fresh, name)); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(fresh, ".hidden"), "To: a@far.example\n\n")
	w.drop("\xff\n:2,x,claimed=9999999999999", "To: a@far.example\n\n")
	if m := w.one(); m.Recipients[0].Address != "a@far.example" || strings.Contains(string(m.ID), "\xff") {
		t.Errorf("%+v", m)
	}
	for range 3 {
		if all := w.collect(); len(all) > 0 {
			t.Errorf("%+v", all)
		}
	}
	if n := len(names(t, fresh)); n != 4 {
		t.Errorf("%d files are left", n)
	}
	if n := len(logged); n != 3 {
		t.Errorf("%d lines are logged", n)
	}
}

// TestLinkedFolder: whoever may write into an outbox, or into a mailbox, cannot have the mail of others sent.
func TestLinkedFolder(t *testing.T) {
	for link, to := range map[string]string{"new": "../../ben/new", ".": "../ben"} {
		w := newOutboxWorld(t)
		w.take("k", hello, ben)
		path := filepath.Join(w.outboxOf(anna), link)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		if all := w.collect(); len(all) > 0 || len(w.files(ben)) != 1 {
			t.Errorf("%s: %d messages of another account are sent", link, len(all))
		}
	}
}

// TestGrowingFile (I3): a file that is still being written is not sent in part.
func TestGrowingFile(t *testing.T) {
	w := newOutboxWorld(t)
	w.drop("m", "To: a@far.example\n\nbeginning\n")
	var text []byte
	var broken error
	err := w.Collect(t.Context(), backends.CollectRequest{Lease: time.Hour}, func(_ context.Context, _ backends.Outgoing, c backends.Content) error {
		dir := filepath.Join(w.outboxOf(anna), "cur")
		f, err := os.OpenFile(filepath.Join(dir, names(t, dir)[0]), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("end\n"); err != nil {
			t.Fatal(err)
		}
		text, broken = io.ReadAll(c)
		return broken
	})
	if err == nil || backends.KindOf(broken) != backends.Temporary || strings.Contains(string(text), "end") {
		t.Errorf("%q, %v, %v", text, broken, err)
	}
	if m := w.one(); !strings.HasSuffix(m.content, "end\r\n") || m.err != nil {
		t.Errorf("%+v", m)
	}
}

// TestRewrittenWhileSent (I3): a message that is written over while it is read, and has the same size, is no message.
func TestRewrittenWhileSent(t *testing.T) {
	w := newOutboxWorld(t)
	w.drop("m", "To: a@far.example\n\nsmall\n")
	before := time.Now().Add(-time.Hour) // files have no finer clock than some milliseconds
	fresh := filepath.Join(w.outboxOf(anna), "new")
	if err := os.Chtimes(filepath.Join(fresh, names(t, fresh)[0]), before, before); err != nil {
		t.Fatal(err)
	}
	err := w.Collect(t.Context(), backends.CollectRequest{Lease: time.Hour}, func(_ context.Context, _ backends.Outgoing, c backends.Content) error {
		dir := filepath.Join(w.outboxOf(anna), "cur")
		f, err := os.OpenFile(filepath.Join(dir, names(t, dir)[0]), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("To: a@far.example\n\nSMALL\n"); err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(c)
		return err
	})
	if backends.KindOf(err) != backends.Temporary {
		t.Error(err)
	}
	if m := w.one(); !strings.HasSuffix(m.content, "SMALL\r\n") || m.err != nil {
		t.Errorf("%+v", m)
	}
}

// TestNameUsedAgain: a program may drop the same file under the same name each day, and each is a message.
func TestNameUsedAgain(t *testing.T) {
	w := newOutboxWorld(t)
	ids := make(map[backends.MessageID]bool)
	for range 3 {
		w.drop("alarm", "To: a@far.example\n\n")
		m := w.one()
		ids[m.ID] = true
		w.settleFor(m, "a@far.example")
	}
	if len(ids) != 3 {
		t.Errorf("%d ids", len(ids))
	}
}

// TestMovedByOthers: an IMAP server moves what is new, and marks it. It is sent all the same, and what is claimed stays so.
func TestMovedByOthers(t *testing.T) {
	w := newOutboxWorld(t)
	dir := w.outboxOf(anna)
	writeFile(t, filepath.Join(dir, "cur", "1764000000.M1P2.host:2,S"), "To: a@far.example\n\n")
	m := w.one()
	name := names(t, filepath.Join(dir, "cur"))[0]
	if err := os.Rename(filepath.Join(dir, "cur", name), filepath.Join(dir, "cur", name+":2,FS")); err != nil {
		t.Fatal(err)
	}
	if all := w.collect(); len(all) > 0 {
		t.Errorf("what is claimed is handed over again: %+v", all)
	}
	w.settleFor(m, "a@far.example")
	if left := names(t, filepath.Join(dir, "cur")); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

// TestLeaseLost: a message whose gateway has ended is handed over again, with its id.
func TestLeaseLost(t *testing.T) {
	w := newOutboxWorld(t)
	w.drop("m", "To: a@far.example, b@far.example\n\n")
	first := w.one()
	w.settleFor(first, "a@far.example")
	other := openWorld(t, w.root, map[string]any{"outbox": true})
	other.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	other.use.outboxes.now = other.now
	again := other.one()
	if again.ID != first.ID || !slices.Equal(backends.Addresses(again.Recipients), []string{"b@far.example"}) {
		t.Errorf("%+v, then %+v", first, again)
	}
	other.settleFor(again, "b@far.example")
	if left := names(t, filepath.Join(w.outboxOf(anna), "cur")); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
	w.settleFor(first, "b@far.example") // once more does no harm
	w.settleFor(handed{Outgoing: backends.Outgoing{ID: "../../x"}}, "b@far.example")
}

// TestTurns: no account waits for all of another's mail, and a disabled account sends nothing.
func TestTurns(t *testing.T) {
	w := newOutboxWorld(t)
	for i := range 20 {
		w.drop(fmt.Sprint(i), "To: a@far.example\n\n")
	}
	writeFile(t, filepath.Join(w.outboxOf(ben), "new", "m"), "To: a@far.example\n\n")
	var from []string
	for range 2 {
		err := w.Collect(t.Context(), backends.CollectRequest{Most: 2, Lease: time.Hour}, func(_ context.Context, m backends.Outgoing, _ backends.Content) error {
			from = append(from, m.From)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Contains(from, ben) {
		t.Errorf("%q", from)
	}
	text := strings.Replace(accountsText(), "- address: "+anna, "- disabled: true\n    address: "+anna, 1)
	writeFile(t, filepath.Join(w.root, "accounts.yaml"), text)
	w.use.accounts.seen = fileState{}
	if all := w.collect(); len(all) > 0 {
		t.Errorf("a disabled account sends %d messages", len(all))
	}
}

// TestOutboxIsMade: an account that has a mailbox gets its outbox, and one that has none gets neither.
func TestOutboxIsMade(t *testing.T) {
	w := newOutboxWorld(t)
	w.take("k", hello, anna)
	w.collect()
	if _, err := os.Stat(filepath.Join(w.root, "sakes.example", "anna", ".Outbox", "new")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(w.root, "sakes.example", "ben")); err == nil {
		t.Error("a mailbox is made for an outbox")
	}
}

// TestOutboxOff: without the setting the store has no outbox.
func TestOutboxOff(t *testing.T) {
	w := newWorld(t, nil)
	d, err := w.Describe(t.Context())
	if err != nil || d.Capabilities.Outbox || !d.Capabilities.Receiver {
		t.Errorf("%+v, %v", d.Capabilities, err)
	}
	if err := w.Collect(t.Context(), backends.CollectRequest{}, nil); backends.KindOf(err) != backends.Unsupported {
		t.Error(err)
	}
	if err := w.Settle(t.Context(), nil); backends.KindOf(err) != backends.Unsupported {
		t.Error(err)
	}
}

// TestOutboxFaults (I1): whichever step of the disk fails, a message is handed over or stays, and is never gone unsettled.
func TestOutboxFaults(t *testing.T) {
	for step := 1; ; step++ {
		failing := true
		disk := &faultyDisk{fail: func(n int, _, _ string) error {
			if failing && n == step {
				return syscall.EIO
			}
			return nil
		}}
		w := newWorld(t, map[string]any{"outbox": true}, func(s *Store) { s.disk = disk })
		w.drop("m", "To: a@far.example, b@far.example\n\nx\n")
		settled, ended := false, true
		err := w.Collect(t.Context(), backends.CollectRequest{Lease: time.Hour}, func(ctx context.Context, m backends.Outgoing, c backends.Content) error {
			if _, err := io.ReadAll(c); err != nil {
				return err
			}
			for _, to := range []string{"a@far.example", "b@far.example"} {
				if err := w.Settle(ctx, []backends.Settlement{{ID: m.ID, Verdicts: []backends.Verdict{{Recipient: to}}}}); err != nil {
					return err
				}
			}
			settled = true
			return nil
		})
		failing, ended = false, disk.steps < step
		dir := w.outboxOf(anna)
		left := len(names(t, filepath.Join(dir, "new"))) + len(names(t, filepath.Join(dir, "cur")))
		if !settled && left == 0 {
			t.Errorf("step %d, %s: the message is gone, %v", step, disk.last, err)
		}
		if ended {
			if !settled || err != nil || left > 0 {
				t.Errorf("without a fault: settled %t, %v, %d files left", settled, err, left)
			}
			return
		}
	}
}

// TestDropEnvelope: a message that begins as an envelope does, with space in front of the colon or without, changes
// nothing of its own envelope.
func TestDropEnvelope(t *testing.T) {
	for _, start := range []string{"X-Sender: <>\n", "x-receiver: <eve@far.example>\r\n", "X-Sender : <>\n", "X-Receiver:"} {
		w := newOutboxWorld(t)
		box, err := OutboxIn(w.outboxOf(anna))
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Drop(pickup.Envelope{Recipients: backends.To("a@far.example")}, strings.NewReader(start+"Subject: x\n\n")); err != nil {
			t.Fatal(err)
		}
		m := w.one()
		if m.From != anna || !slices.Equal(backends.Addresses(m.Recipients), []string{"a@far.example"}) || !strings.Contains(m.content, "\n"+strings.TrimSpace(start)) {
			t.Errorf("from %q to %q:\n%s", m.From, backends.Addresses(m.Recipients), m.content)
		}
	}
}

// TestDiskThatFails: what cannot be read or taken as the disk fails, or is full, is tried again once it does not, although
// nothing in the outbox has changed.
func TestDiskThatFails(t *testing.T) {
	for _, failing := range []string{"names", "rename"} {
		t.Run(failing, func(t *testing.T) {
			broken, now := true, time.Now().Add(time.Hour)
			disk := &faultyDisk{fail: func(_ int, name, path string) error {
				if broken && name == failing && strings.Contains(path, outboxFolder) {
					return syscall.ENOSPC
				}
				return nil
			}}
			w := newWorld(t, map[string]any{"outbox": true}, func(s *Store) { s.disk = disk })
			w.use.outboxes.now = func() time.Time { return now }
			w.drop("m", "To: a@far.example\n\n")
			for range 3 {
				if all := w.collect(); len(all) > 0 {
					t.Fatalf("%+v", all)
				}
			}
			steps := disk.steps
			w.collect()
			if n := disk.steps - steps; n > 10 {
				t.Errorf("it is tried all the time: %d steps", n)
			}
			broken, now = false, now.Add(2*againAfter)
			w.one()
		})
	}
}

// TestShare: what root puts into another's outbox belongs to that one, and nothing else does that has its name meanwhile.
func TestShare(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: nobody's files can be given away")
		return
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "dropped"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Rename(f.Name(), filepath.Join(dir, "renamed")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, f.Name(), "root's")
	if err := share(f, dir); err != nil {
		t.Fatal(err)
	}
	if uid, gid := ownerIDs(t, filepath.Join(dir, "renamed")); uid != 4711 || gid != 4712 {
		t.Errorf("it belongs to %d:%d", uid, gid)
	}
	if uid, _ := ownerIDs(t, f.Name()); uid != 0 {
		t.Errorf("another file belongs to %d", uid)
	}
}

// TestToldOnce: that a message cannot be read is logged once, whatever its name is in its further leases, and how much has
// been logged before.
func TestToldOnce(t *testing.T) {
	logged := make(lines, 100)
	now := time.Now().Add(time.Hour)
	disk := &faultyDisk{fail: func(_ int, name, path string) error {
		if name == "open" && strings.Contains(path, claimMark) {
			return syscall.EACCES
		}
		return nil
	}}
	w := newWorld(t, map[string]any{"outbox": true}, WithLogger(zerolog.New(logged)), func(s *Store) { s.disk = disk })
	w.use.outboxes.now = func() time.Time { return now }
	for i := range oddMost {
		w.use.outboxes.odd[fmt.Sprint(i)] = true
	}
	w.drop("m", "To: a@far.example\n\n")
	for range 3 {
		if all := w.collect(); len(all) > 0 {
			t.Fatalf("%+v", all)
		}
		now = now.Add(2 * time.Hour)
	}
	if n := len(logged); n != 1 {
		t.Errorf("%d lines are logged", n)
	}
}
