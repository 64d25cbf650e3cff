package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/events"
)

// writes keeps what was written at once.
type writes struct {
	mu   sync.Mutex
	all  []string
	fail error
}

func (w *writes) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return 0, w.fail
	}
	w.all = append(w.all, string(p))
	return len(p), nil
}

// TestGather: what is told of sessions and messages is written together, in its order, and soon.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out writes
		gate := &levelGate{}
		log := newLog(&out, config.Log{Level: "info", Format: "json"}, gate)
		read := func(n int) {
			event := []string{events.MessageOut, events.MessageIn, events.Delivery, events.SessionEnd}[n%4]
			log.Info().Str(events.Protocol, "smtp").Str(events.Event, event).Int("n", n).Msg("message")
		}
		look := func(when, want string) {
			t.Helper()
			var got []string
			for _, w := range out.take() {
				var lines []string
				for line := range strings.Lines(w) {
					_, rest, _ := strings.Cut(line, `"n":`)
					lines = append(lines, rest[:1])
				}
				got = append(got, strings.Join(lines, ""))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %s, and not %s", when, strings.Join(got, " "), want)
			}
		}
		for n := range 3 {
			read(n)
		}
		look("at once", "")
		time.Sleep(gatherTime)
		synctest.Wait()
		look("later", "012")

		log.Info().Int("n", 3).Msg("deletion")
		look("another line", "3")
		log.Warn().Str(events.Event, events.Delivery).Int("n", 8).Msg("delivery")
		look("a delivery that has failed", "8")
		read(4)
		log.Warn().Int("n", 5).Str("said", `"event":"message_out"`).Msg("in a value")
		look("another line after gathered ones", "45")
		time.Sleep(time.Minute)
		synctest.Wait()
		look("nothing is left", "")

		read(6)
		gate.flush()
		look("at the end", "6")
		for range gatherMost / 16 {
			read(7)
		}
		all := out.take()
		if len(all) == 0 {
			t.Error("what is gathered has no bound")
		}
		for _, w := range all {
			if len(w) > gatherMost+1000 {
				t.Errorf("%d octets at once", len(w))
			}
		}
	})
}

// TestGatherFails: that the log cannot be written is told to whoever logs next, once, and what follows is written.
func TestGatherFails(t *testing.T) {
	out := &writes{fail: errors.New("no space left on device")}
	g := gather(out)
	line := func(n int) []byte {
		return fmt.Appendf(nil, `{"level":"info","event":"message_out","n":%d}`+"\n", n)
	}
	if _, err := g.Write(line(1)); err != nil {
		t.Fatal(err)
	}
	g.late()
	out.fail = nil
	if _, err := g.Write(line(2)); err == nil {
		t.Error("nobody was told")
	}
	if _, err := g.Write([]byte("{}\n")); err != nil {
		t.Error(err)
	}
	if got := strings.Join(out.take(), ""); got != string(line(2))+"{}\n" {
		t.Errorf("%q", got)
	}
}
