//go:build unix

package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestThrottleCommand has the command line look at the counts of a gateway that runs, and reset
// them.
func TestThrottleCommand(t *testing.T) {
	t.Parallel()
	p, pop3, _ := gate(t, gateYAML+"login: {throttle: {free: 2, first_delay: 10ms, longest_delay: 10ms, refusal: 10ms}}\n")
	pop3Login(t, pop3, "me@one.example", password, false).say("QUIT", "+OK")
	for range 3 {
		c := dial(t, pop3, false)
		c.expect("+OK")
		c.say("USER me@one.example", "+OK")
		c.say("PASS wrong", "-ERR [AUTH]")
	}
	command := func(args ...string) string {
		var out, diagnostics bytes.Buffer
		args = append(args, "--config", filepath.Join(p.dir, "gate.yaml"))
		if status := run(context.Background(), args, nil, &out, &diagnostics); status != 0 {
			t.Fatalf("%q: status %d: %s", args, status, diagnostics.String())
		}
		return out.String()
	}
	listed := func(want ...string) {
		t.Helper()
		var text string
		for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(50 * time.Millisecond) {
			text = command("throttle", "list")
			found := true
			for _, w := range want {
				found = found && strings.Contains(strings.Join(strings.Fields(text), " "), w)
			}
			if found && strings.Count(text, "\n") == 1+len(want) {
				return
			}
		}
		t.Fatalf("listed:\n%s", text)
	}
	listed("network 127.0.0.0/24 - 3.0 10ms -", "account - me@one.example 3.0 10ms -", "pair 127.0.0.1 me@one.example 3.0 10ms yes")
	if got := command("throttle", "reset", "127.0.0.1"); got != "2 counts are reset\n" {
		t.Errorf("reset: %s", got)
	}
	listed("account - me@one.example 3.0 10ms -")
	if got := command("throttle", "reset", "ME@one.example"); got != "1 counts are reset\n" {
		t.Errorf("reset: %s", got)
	}
	listed()
	if text := command("throttle", "list", "--known", "--json"); !strings.Contains(text, `"for":"pair","address":"127.0.0.1","account":"me@one.example"`) || !strings.Contains(text, `"known":true`) {
		t.Errorf("known: %s", text)
	}
}
