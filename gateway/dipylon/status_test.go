//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/status"
)

// TestStatus: a running gateway says what it is, and by the exit status whether something needs attention; without one, and
// before it has begun, the command says that.
func TestStatus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addUser(t, dir, "one", "me@one.example")
	certificate, key, err := server.MakeSelfSigned("gate.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"gate.crt": certificate, "gate.key": key, "gate.yaml": []byte(queueYAML)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	off := &process{t: t, dir: dir}
	if out, code := off.command("status", "--config", "gate.yaml"); code != exitTemporary || !strings.Contains(out, "no gateway runs") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := off.command("status", "--config", "gate.yaml", "--monitor"); code != monitorUnknown || !strings.HasPrefix(out, "DIPYLON UNKNOWN - no gateway runs") || strings.Count(out, "\n") != 1 {
		t.Errorf("%d %s", code, out)
	}

	p := serveIn(t, dir, queueYAML+"tls: {certificate: gate.crt, key: gate.key}\n")
	submission := p.address(0, "submission")
	p.await(0, "ready")
	if out, code := p.command("status", "--config", "gate.yaml"); code != exitOK || !strings.Contains(out, "Nothing needs attention.") || !strings.Contains(out, "healthy") {
		t.Errorf("%d %s", code, out)
	}
	submit(t, submission, "zoe@kept.example")
	open := dial(t, submission, false)
	open.expect("220")
	s := p.statusNow(exitOK) // what is held is a notice
	if !s.Ready || s.Hostname != "gate.example" || len(s.Listeners) != 1 || s.Listeners[0].TLS != "starttls" || s.Listeners[0].Certificates[0].Names[0] != "gate.example" ||
		s.Listeners[0].Certificates[0].SelfSigned || s.Sessions["submission"] != 1 || s.Queue.Held != 1 || len(s.Queue.Destinations) != 1 || len(s.Ends) != 1 {
		t.Errorf("%+v", s)
	}
	if st := s.Stores[0]; st.Name != "one" || !st.Ready || !st.Healthy || st.Generation != 1 || st.PID == 0 || !strings.HasPrefix(st.Backend, "maildir ") {
		t.Errorf("%+v", st)
	}
	if len(s.Attention) != 1 || s.Attention[0].Key != "spool:held" || s.Worst() != attention.Notice {
		t.Errorf("%+v", s.Attention)
	}

	twoYears := 2 * 365 * 24 * time.Hour
	certificate, key, err = server.MakeSelfSigned("gate.example", time.Now().Add(50*time.Hour-twoYears))
	if err = errors.Join(err, os.WriteFile(filepath.Join(dir, "gate.key"), key, 0o600), os.WriteFile(filepath.Join(dir, "gate.crt"), certificate, 0o600)); err != nil {
		t.Fatal(err)
	}
	if s := p.statusNow(exitFailure); s.Worst() != attention.Warning || s.Attention[0].Kind != attention.Certificate {
		t.Errorf("%+v", s.Attention)
	}
	out, code := p.command("status", "--config", "gate.yaml", "--monitor")
	if code != monitorWarning || !strings.HasPrefix(out, "DIPYLON WARNING - the certificate") || !strings.Contains(out, "(and 1 more) | attention=2 sessions=1 queue=0 held=1 days=2") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := p.command("status", "--config", "gate.yaml"); code != exitFailure || !strings.Contains(out, "Needs attention:\n  WARNING   the certificate") || !strings.Contains(out, "route:keep   held") {
		t.Errorf("%d %s", code, out)
	}
}

// statusNow asks for JSON.
func (p *process) statusNow(want int) (s status.Status) {
	p.t.Helper()
	out, code := p.command("status", "--config", "gate.yaml", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != want {
		p.t.Errorf("%v, status %d: %s", err, code, out)
	}
	return s
}

func TestMonitorLine(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	concern := func(s attention.Severity, text string) attention.Concern {
		return attention.Concern{Severity: s, Text: text}
	}
	for _, test := range []struct {
		name, want string
		status     status.Status
		code       int
	}{
		{"well", "DIPYLON OK - nothing needs attention | attention=0 sessions=0 queue=0 held=0", status.Status{Ready: true}, monitorOK},
		{"starting", "DIPYLON CRITICAL - the gateway is starting | attention=0 sessions=0 queue=0 held=0", status.Status{}, monitorCritical},
		{"notice", "DIPYLON OK - a secret ends | attention=1 sessions=0 queue=0 held=0", status.Status{Ready: true, Attention: []attention.Concern{concern(attention.Notice, "a secret ends")}}, monitorOK},
		{
			"a bar and lines", "DIPYLON CRITICAL - no / token now | attention=1 sessions=3 queue=6 held=1 days=2",
			status.Status{
				Ready: true, Now: now, Attention: []attention.Concern{concern(attention.Critical, "no |\ntoken now")}, Sessions: map[string]int{"pop3": 1, "smtp": 2},
				Queue: status.Queue{Waiting: 3, InFlight: 2, Uncertain: 1, Held: 1, Destinations: []queue.Statistic{}}, Ends: []attention.Concern{{Until: now.Add(60 * time.Hour)}},
			},
			monitorCritical,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if line, code := monitorLine(test.status); line != test.want || code != test.code {
				t.Errorf("%d %q\nwant %d %q", code, line, test.code, test.want)
			}
		})
	}
}
