//go:build unix

package drop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
)

const (
	envelope = "X-Sender: <george@sakes.example> RET=HDRS\r\nX-Receiver: <judy@dcnw.example> NOTIFY=FAILURE\r\nX-Receiver: <JUDY@dcnw.example>\r\n" +
		"X-CreatedBy: MSExchange15\r\nX-EndOfInjectedXHeaders: 20\r\n"
	mail = "Subject: x\r\n\r\nHello.\r\n"
)

// place is a Drop folder.
type place struct {
	*Folder
	dir string
	log *bytes.Buffer
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{dir: t.TempDir(), log: &bytes.Buffer{}}
	p.Folder = New(p.dir, zerolog.New(zerolog.SyncWriter(p.log)))
	return p
}

func (p *place) put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// files are the names in the folder.
func (p *place) files(t *testing.T) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// collected is what was handed over.
type collected struct {
	backends.Outgoing
	mail string
}

func (p *place) collect(t *testing.T, wait time.Duration) (all []collected) {
	t.Helper()
	request := backends.CollectRequest{Lease: time.Hour, Wait: wait}
	err := p.Collect(t.Context(), request, func(_ context.Context, out backends.Outgoing, content backends.Content) error {
		text, err := io.ReadAll(content)
		all = append(all, collected{out, string(text)})
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return all
}

// TestCollect hands over what Exchange has written, whatever its name is: who gets it says the envelope, and the content has nothing of that.
func TestCollect(t *testing.T) {
	names := []string{"a.eml", "George's letter, No. 1.EML", "Σχήμα 1.eml", strings.Repeat("x", 251) + ".eml"}
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		for _, name := range names {
			p.put(t, name, envelope+mail)
		}
		p.put(t, "b.tmp", envelope+mail)
		p.put(t, ".c.eml", envelope+mail)
		all := p.collect(t, 0)
		if len(all) != len(names) {
			t.Fatalf("%d messages of %d: %s", len(all), len(names), p.log)
		}
		for _, m := range all {
			if m.From != "george@sakes.example" || m.Return != backends.ReturnHeaders || len(m.Recipients) != 1 || m.Recipients[0].Notify != backends.NotifyFailure || m.mail != mail || len(m.ID) > 200 {
				t.Errorf("%+v", m)
			}
		}
		if again := p.collect(t, 0); len(again) != 0 {
			t.Errorf("they are handed over again: %v", again)
		}
		for _, m := range all {
			if err := p.Settle(t.Context(), []backends.Settlement{{ID: m.ID, Verdicts: []backends.Verdict{{Recipient: "judy@dcnw.example"}}}}); err != nil {
				t.Error(err)
			}
		}
		if left := p.files(t); !slices.Equal(left, []string{".c.eml", "b.tmp"}) {
			t.Errorf("%q are left", left)
		}
	})
}

// TestGrowing (I3): a file that is written slowly under its name is taken when it is whole.
func TestGrowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		got := make(chan []collected)
		go func() { got <- p.collect(t, time.Minute) }()
		var whole strings.Builder
		whole.WriteString(envelope)
		for n := range 10 {
			fmt.Fprintf(&whole, "X-Line: %d\r\n", n)
			p.put(t, "a.eml", whole.String())
			time.Sleep(1500 * time.Millisecond)
		}
		if all := <-got; len(all) != 1 || envelope+all[0].mail != whole.String() {
			t.Errorf("%v", all)
		}
	})
}

// TestUnfinished: a file that ends within its envelope is waited for, and then set aside; what is written to its end meanwhile goes out.
func TestUnfinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.put(t, "slow.eml", envelope[:50])
		p.put(t, "cut.eml", envelope[:100])
		if all := p.collect(t, 10*time.Second); len(all) != 0 {
			t.Fatal(all)
		}
		for _, name := range p.files(t) {
			if strings.HasPrefix(name, "slow") {
				p.put(t, name, envelope+mail)
			}
		}
		all := p.collect(t, 20*time.Second)
		if len(all) != 1 || all[0].mail != mail {
			t.Errorf("%v", all)
		}
		if strings.Contains(p.log.String(), `"level":"error"`) {
			t.Errorf("it is told too early: %s", p.log)
		}
		if all := p.collect(t, 2*time.Minute); len(all) != 0 {
			t.Error(all)
		}
		if !strings.Contains(p.log.String(), "the file ends before X-EndOfInjectedXHeaders") {
			t.Errorf("the log has %s", p.log)
		}
		if !slices.ContainsFunc(p.files(t), func(name string) bool { return strings.HasPrefix(name, "cut") && strings.HasSuffix(name, bad) }) {
			t.Errorf("there are %q", p.files(t))
		}
	})
}

// TestBad (I8): a file whose envelope cannot be followed is set aside, and the log says what to do; it is taken once it was corrected. Others go on.
func TestBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.put(t, "bad.eml", strings.Replace(envelope, "<judy@dcnw.example>", "<judy>", 1)+mail)
		p.put(t, "good.eml", envelope+mail)
		if all := p.collect(t, 0); len(all) != 1 {
			t.Fatal(all)
		}
		i := slices.IndexFunc(p.files(t), func(name string) bool { return strings.HasSuffix(name, bad) })
		if log := p.log.String(); i < 0 || strings.Count(log, `"level":"error"`) != 1 || !strings.Contains(log, "judy") || !strings.Contains(log, "rename it to .eml") {
			t.Fatalf("%q, %s", p.files(t), log)
		}
		p.put(t, "corrected.eml", envelope+mail)
		if all := p.collect(t, 0); len(all) != 1 || !strings.HasPrefix(string(all[0].ID), "corrected~") {
			t.Error(all)
		}
	})
}

// TestLinks: what is no file of the folder is not read, nor waited for.
func TestLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		outside := filepath.Join(t.TempDir(), "secret.eml")
		if err := os.WriteFile(outside, []byte(envelope+mail), 0o600); err != nil {
			t.Fatal(err)
		}
		p.put(t, "inside", envelope+mail)
		for _, err := range []error{
			os.Symlink(outside, filepath.Join(p.dir, "a.eml")), os.Symlink("inside", filepath.Join(p.dir, "b.eml")),
			os.Symlink(outside, filepath.Join(p.dir, claimed("c~0123456789abcdef", time.UnixMilli(0)))),
			os.Mkdir(filepath.Join(p.dir, "d.eml"), 0o700), syscall.Mkfifo(filepath.Join(p.dir, "e.eml"), 0o600),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if all := p.collect(t, 10*time.Second); len(all) != 0 {
			t.Errorf("%v", all)
		}
		if n := strings.Count(p.log.String(), errNoFile.Error()); n != 5 {
			t.Errorf("the log tells of %d: %s", n, p.log)
		}
	})
}

// TestChangesWhileRead (I3): a message whose file changes while it is read is no message, and handed over later.
func TestChangesWhileRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.put(t, "a.eml", envelope+mail)
		var ended error
		err := p.Collect(t.Context(), backends.CollectRequest{}, func(_ context.Context, out backends.Outgoing, content backends.Content) error {
			for _, name := range p.files(t) {
				p.put(t, name, envelope+mail+"More.\r\n")
			}
			_, ended = io.ReadAll(content)
			return ended
		})
		if ended == nil || err == nil || backends.KindOf(err) != backends.Temporary {
			t.Errorf("%v, %v", ended, err)
		}
		if all := p.collect(t, 0); len(all) != 1 || all[0].mail != mail+"More.\r\n" {
			t.Error(all)
		}
	})
}

// TestRewrittenWhileRead (I3): so is one that is written over while it is read, and has the same size.
func TestRewrittenWhileRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.put(t, "a.eml", envelope+mail)
		before := time.Now().Add(-time.Hour) // files have no finer clock than some milliseconds
		if err := os.Chtimes(filepath.Join(p.dir, "a.eml"), before, before); err != nil {
			t.Fatal(err)
		}
		err := p.Collect(t.Context(), backends.CollectRequest{}, func(_ context.Context, _ backends.Outgoing, content backends.Content) error {
			for _, name := range p.files(t) {
				p.put(t, name, envelope+strings.ToUpper(mail))
			}
			_, err := io.ReadAll(content)
			return err
		})
		if backends.KindOf(err) != backends.Temporary {
			t.Error(err)
		}
		if all := p.collect(t, 0); len(all) != 1 || all[0].mail != strings.ToUpper(mail) {
			t.Error(all)
		}
	})
}

// TestOneFails (I8): messages that cannot be read, or of which it cannot be known who was finished, hold up no other, and nothing is waited for that is
// no file.
func TestOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		odd := []string{"a~0123456789abcdef", "b~0123456789abcdef", "c~0123456789abcdef"}
		for _, id := range odd {
			p.put(t, claimed(id, time.UnixMilli(0)), envelope+mail)
		}
		for _, err := range []error{
			os.Mkdir(filepath.Join(p.dir, odd[0]+settled), 0o700), os.Symlink("good.eml", filepath.Join(p.dir, odd[1]+settled)),
			syscall.Mkfifo(filepath.Join(p.dir, odd[2]+settled), 0o600),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		p.put(t, "good.eml", envelope+mail)
		if all := p.collect(t, 0); len(all) != 1 || !strings.HasPrefix(string(all[0].ID), "good~") {
			t.Error(all)
		}
		if n := strings.Count(p.log.String(), "cannot be taken now"); n != len(odd) {
			t.Errorf("the log tells of %d: %s", n, p.log)
		}
	})
}

// TestClaimLasts (I2): the name by which a message is known again is on the disk before the gateway has the message.
func TestClaimLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.put(t, "a.eml", envelope+mail)
		var synced []string
		p.sync = func(path string) error {
			synced = p.files(t)
			return nil
		}
		all := p.collect(t, 0)
		if len(all) != 1 || len(synced) != 1 || !strings.HasPrefix(synced[0], string(all[0].ID)+claimMark) {
			t.Errorf("%v, and %q is on the disk", all, synced)
		}
	})
}

// TestNoFolder: a share that is not mounted is told, and what to do.
func TestNoFolder(t *testing.T) {
	f := New(filepath.Join(t.TempDir(), "none"), zerolog.Nop())
	err := f.Collect(t.Context(), backends.CollectRequest{}, nil)
	if backends.KindOf(err) != backends.Temporary || !strings.Contains(err.Error(), "mount the share") {
		t.Error(err)
	}
	if err := f.Settle(t.Context(), []backends.Settlement{{ID: "a"}}); backends.KindOf(err) != backends.Temporary {
		t.Error(err)
	}
}

// TestTwoGateways: of two that look at the same time each message is had once.
func TestTwoGateways(t *testing.T) {
	p := newPlace(t)
	const many = 200
	for n := range many {
		p.put(t, fmt.Sprint(n, ".eml"), envelope+mail)
	}
	var mu sync.Mutex
	seen := make(map[string]int)
	var both sync.WaitGroup
	for range 2 {
		f := New(p.dir, zerolog.Nop())
		f.Quiet = 10 * time.Millisecond
		both.Go(func() {
			err := f.Collect(t.Context(), backends.CollectRequest{Lease: time.Hour}, func(_ context.Context, out backends.Outgoing, _ backends.Content) error {
				stem, _, _ := strings.Cut(string(out.ID), "~")
				mu.Lock()
				defer mu.Unlock()
				seen[stem]++
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if len(seen) != many {
		t.Errorf("%d messages of %d", len(seen), many)
	}
	for stem, n := range seen {
		if n != 1 {
			t.Errorf("%s is had %d times", stem, n)
		}
	}
}

// TestSweep: what is known of messages that are gone is forgotten some day, and what is known of others is not.
func TestSweep(t *testing.T) {
	p := newPlace(t)
	const there, gone = "a~0123456789abcdef", "b~0123456789abcdef"
	p.put(t, claimed(there, time.Now().Add(time.Hour)), envelope+mail)
	for _, name := range []string{there + settled, gone + settled, gone + settled + unwritten} {
		p.put(t, name, "pat@dcnw.example\n")
	}
	p.collect(t, 0)
	if n := len(p.files(t)); n != 4 {
		t.Errorf("%q", p.files(t))
	}
	old := time.Now().Add(-2 * leaseMost)
	for _, name := range p.files(t) {
		if err := os.Chtimes(filepath.Join(p.dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	p.collect(t, 0)
	if left := p.files(t); len(left) != 2 || !slices.Contains(left, there+settled) {
		t.Errorf("%q are left", left)
	}
}

// TestOddIDs: no name that a gateway says leads anywhere else.
func TestOddIDs(t *testing.T) {
	p := newPlace(t)
	for _, id := range []string{"", "..", "../x~0123456789abcdef", "/etc/passwd", "a.b~0123456789abcdef", "a~0123456789abcde/"} {
		if isID(id) {
			t.Errorf("%q", id)
		}
		if err := p.Settle(t.Context(), []backends.Settlement{{ID: backends.MessageID(id), Verdicts: []backends.Verdict{{Recipient: "judy@dcnw.example"}}}}); err != nil {
			t.Error(err)
		}
	}
	if id := newID("../a b.eml"); !isID(id) || !strings.HasPrefix(id, "___a_b~") {
		t.Errorf("%q", id)
	}
}
