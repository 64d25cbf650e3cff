package maildir

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// otherProgram is another mail program in this mailbox: it delivers, reads, files and deletes
// until its input ends, and then says how many messages it has left there.
func otherProgram(box string) error {
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := otherStep(box, n, random); err != nil {
			return err
		}
	}
}

// otherStep does one thing to one message that is not marked to be kept.
func otherStep(box string, n int, random *rand.Rand) error {
	if n%3 == 0 {
		tmp := filepath.Join(box, "tmp", fmt.Sprint("other", os.Getpid(), ".", n))
		if err := os.WriteFile(tmp, []byte(strings.Repeat("A: b\n", 1+random.IntN(50))), 0o600); err != nil {
			return err
		}
		return os.Rename(tmp, filepath.Join(box, "new", fmt.Sprintf("%d.P%dQ%d.other", time.Now().Unix(), os.Getpid(), n)))
	}
	part := []string{"new", "cur"}[random.IntN(2)]
	files, err := os.ReadDir(filepath.Join(box, part))
	if err != nil || len(files) == 0 {
		return err
	}
	name := files[random.IntN(len(files))].Name()
	from := filepath.Join(box, part, name)
	if strings.HasSuffix(baseOf(name), ".other") && (len(files) > 60 || random.IntN(3) == 0) {
		err = os.Remove(from)
	} else {
		flags := []string{"", "S", "F", "FS", "RS"}[random.IntN(5)]
		err = os.Rename(from, filepath.Join(box, "cur", baseOf(name)+":2,"+flags))
	}
	if isGone(err) { // the session was quicker
		return nil
	}
	return err
}

// TestAnotherProgram runs sessions while two other processes work in the same mailbox. What
// nobody removes is in every list, can be fetched whatever it is called by then, and is
// gone only when a session has removed it.
func TestAnotherProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	box := w.box(anna)
	for range 2 {
		cmd := helper("othermail", box)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("the other program: %v", err)
			}
		})
	}
	kept := map[string]bool{}
	for round := range 25 {
		subject := fmt.Sprintf("Subject: %d\r\n\r\n", round)
		w.take(fmt.Sprint(round), subject, anna)
		kept[returnPath+subject] = true
		w.session(kept, round%5 == 4)
	}
}

// session lists, fetches everything, and, if told so, removes one of the messages that must
// be there.
func (w *world) session(kept map[string]bool, remove bool) {
	w.t.Helper()
	m := w.open(anna, "")
	defer m.Close()
	found := map[string]backends.MessageID{}
	for _, e := range list(w.t, m) {
		text, err := tryFetch(w.t.Context(), m, backends.FetchRequest{ID: e.ID})
		switch {
		case err == nil && int64(len(text)) != e.Size:
			w.t.Errorf("%s is listed with %d octets and has %d", e.ID, e.Size, len(text))
		case err == nil && kept[text]:
			found[text] = e.ID
		case err != nil && (backends.KindOf(err) != backends.NotFound || !strings.HasSuffix(string(e.ID), ".other")):
			w.t.Errorf("%s: %v", e.ID, err)
		}
	}
	if len(found) != len(kept) {
		w.t.Errorf("%d of %d messages are in the list", len(found), len(kept))
	}
	for text, id := range found {
		if !remove {
			break
		}
		if r, err := m.Remove(w.t.Context(), []backends.MessageID{id}, backends.DisposalRemove); err != nil || r[0].Failure != nil {
			w.t.Errorf("Remove: %+v, %v", r, err)
		}
		if _, err := m.Fetch(w.t.Context(), backends.FetchRequest{ID: id}); backends.KindOf(err) != backends.NotFound {
			w.t.Errorf("%s was removed: %v", id, err)
		}
		delete(kept, text)
		remove = false
	}
}

// deliverForever delivers to three accounts and says so, until it is killed.
func deliverForever(root string) error {
	s := New()
	ctx := context.Background()
	if err := s.Configure(ctx, backends.Settings{Raw: []byte(fmt.Sprintf(`{"root": %q}`, root))}); err != nil {
		return err
	}
	for n := 0; ; n++ {
		key := fmt.Sprintf("%d.%d", os.Getpid(), n)
		content := "Subject: " + key + "\r\n\r\n" + strings.Repeat("0123456789\r\n", n*100%30_000) + "end\r\n"
		verdicts, err := s.Deliver(ctx, backends.Delivery{Key: key, Envelope: backends.Envelope{From: "sender@far.example"}, Recipients: backends.To(anna, ben, cyrus)}, strings.NewReader(content))
		if err != nil {
			return err
		}
		for _, v := range verdicts {
			if v.Failure != nil {
				return v.Failure
			}
		}
		fmt.Println(key)
	}
}

// TestKilled kills a delivering process again and again: what it has acknowledged is there,
// and nothing that is there is a part.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	acknowledged := map[string]bool{}
	for round := range 8 {
		cmd := helper("deliver", w.root)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			acknowledged[lines.Text()] = true
			if n == 3+round {
				time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait()
	}
	if len(acknowledged) < 8*4 {
		t.Fatalf("only %d deliveries", len(acknowledged))
	}
	for _, user := range []string{anna, ben, cyrus} {
		have := map[string]int{}
		for _, text := range w.messages(user) {
			if !strings.HasSuffix(text, "\r\nend\r\n") {
				t.Errorf("%s has a part: %.80q…", user, text)
			}
			_, after, _ := strings.Cut(text, "Subject: ")
			key, _, _ := strings.Cut(after, "\r\n")
			have[key]++
		}
		for key := range acknowledged {
			if have[key] != 1 {
				t.Errorf("%s has %s %d times", user, key, have[key])
			}
		}
	}
}
