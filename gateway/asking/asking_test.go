//go:build linux

package asking

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/collect"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/harness"
)

// provider is a server that starts mail for what it knows.
type provider struct {
	address string
	patient int // how many refusals a connection may have; 0: any number
	mu      sync.Mutex
	asked   []string
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{address: l.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return p
}

func (p *provider) serve(conn net.Conn) {
	defer conn.Close()
	fmt.Fprint(conn, "220 mail.provider.example ESMTP\r\n")
	refused := 0
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		verb, args, _ := strings.Cut(lines.Text(), " ")
		reply := "250 2.0.0 OK"
		if verb == "ETRN" {
			p.mu.Lock()
			p.asked = append(p.asked, args)
			p.mu.Unlock()
			switch args {
			case "none.example":
				reply = "251 no messages waiting"
			case "others.example":
				reply = "459 4.7.1 not allowed"
				if refused++; refused == p.patient {
					reply += "\r\n421 4.7.0 too many errors, closing the connection"
				}
			case "gone.example":
				return
			}
		}
		fmt.Fprint(conn, reply+"\r\n")
		if strings.Contains(reply, "\r\n421") {
			return
		}
	}
}

func (p *provider) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.asked, " ")
}

func (p *provider) server(nodes ...string) Server {
	return Server{
		Name: "provider", Address: p.address, Nodes: nodes, Schedule: collect.Schedule{Every: time.Hour}, Settings: strings.Join(nodes, " "),
		Options: smtpclient.Options{Hello: "gate.example", Timeouts: smtpclient.Within(time.Minute)},
	}
}

// TestAsk: each node has an answer of its own; one that ends the connection ends the questions, and nothing but a node is sent.
func TestAsk(t *testing.T) {
	p := startProvider(t)
	answers, err := Ask(t.Context(), p.server("a.example", "others.example", "none.example", "@b.example\r\nQUIT", "#office"))
	var codes []int
	for _, a := range answers {
		codes = append(codes, a.Code)
	}
	refused, is := errors.AsType[*smtpclient.ReplyError](err)
	if fmt.Sprint(codes) != "[250 459 251 0 250]" || !is || refused.Code != 459 || answers[0].Err != nil || answers[2].Err != nil || answers[3].Err == nil {
		t.Errorf("%+v, %v", answers, err)
	}
	if got := p.said(); got != "a.example others.example none.example #office" {
		t.Errorf("the server was asked for %s", got)
	}
	if answers, err := Ask(t.Context(), p.server("gone.example", "a.example")); err == nil || len(answers) != 1 {
		t.Errorf("%+v, %v", answers, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ended, p.server("a.example")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestAskOn: a server that ends connections over which much is refused is asked for the rest over others; one that does no more take
// connections, or ends them before it has answered, has said why.
func TestAskOn(t *testing.T) {
	p := startProvider(t)
	p.patient = 2
	nodes := []string{"others.example", "others.example", "others.example", "others.example", "a.example"}
	answers, err := Ask(t.Context(), p.server(nodes...))
	var codes []int
	for _, a := range answers {
		codes = append(codes, a.Code)
	}
	if refused, is := errors.AsType[*smtpclient.ReplyError](err); fmt.Sprint(codes) != "[459 459 459 459 250]" || !is || refused.Code != 459 {
		t.Errorf("%v, %v", codes, err)
	}
	if got := p.said(); got != strings.Join(nodes, " ") {
		t.Errorf("the server was asked for %s", got)
	}
	answers, err = Ask(t.Context(), p.server("a.example", "gone.example", "a.example"))
	if err == nil || len(answers) != 2 || answers[0].Err != nil || answers[1].Err == nil {
		t.Errorf("%+v, %v", answers, err)
	}
	s, dials := p.server("a.example", "gone.example", "a.example"), 0
	s.Options.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; dials > 1 {
			return nil, errors.New("no more connections")
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	answers, err = Ask(t.Context(), s)
	if err == nil || len(answers) != 2 || answers[1].Err == nil || !strings.Contains(err.Error(), "no more connections") {
		t.Errorf("%+v, %v", answers, err)
	}
}

// TestAskedOnce: of gateways on one state one asks, and again when the settings are others; what came of it is in the state.
func TestAskedOnce(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		p := startProvider(t)
		var all []*Asker
		locks := folder.NewLocks(folder.LockOptions{Log: zerolog.Nop(), DB: db, Time: time.Minute})
		defer locks.Close()
		for range 3 {
			a := New(Options{Log: zerolog.Nop(), DB: db, Locks: locks})
			defer a.Close()
			all = append(all, a)
			a.Use([]Server{p.server("a.example")})
		}
		status := func() Status {
			s, err := Statuses(t.Context(), db, []string{"provider"})
			if err != nil {
				t.Fatal(err)
			}
			return s[0]
		}
		harness.Eventually(t, time.Minute, "it is asked", func() bool { return !status().Well.IsZero() })
		first := status()
		for _, a := range all {
			a.Close() // what is under way ends
		}
		if p.said() != "a.example" || first.Failures != 0 || first.Reason != "" || first.Well != first.Asked {
			t.Errorf("asked for %s: %+v", p.said(), first)
		}
		later := New(Options{Log: zerolog.Nop(), DB: db, Locks: locks, Now: func() time.Time { return time.Now().Add(2 * time.Hour) }})
		defer later.Close()
		later.Use([]Server{p.server("others.example")})
		harness.Eventually(t, time.Minute, "it has refused", func() bool { return status().Failures == 1 })
		if s := status(); s.Well != first.Well || !strings.Contains(s.Reason, "459") {
			t.Errorf("%+v", s)
		}
		later.Use(nil)
	})
}

// TestDue: by the schedule, and sooner after failures.
func TestDue(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		schedule collect.Schedule
		status   Status
		want     time.Duration // from now
		refused  int
	}{
		"never":                   {collect.Schedule{Every: time.Hour}, Status{}, 0, 0},
		"well":                    {collect.Schedule{Every: time.Hour}, Status{Asked: now.Add(-20 * time.Minute)}, 40 * time.Minute, 0},
		"failed once":             {collect.Schedule{Every: time.Hour}, Status{Asked: now, Failures: 1}, time.Minute, 0},
		"failed often":            {collect.Schedule{Every: 24 * time.Hour}, Status{Asked: now, Failures: 50}, time.Hour, 0},
		"failed, soon anyway":     {collect.Schedule{Every: 10 * time.Minute}, Status{Asked: now, Failures: 50}, 10 * time.Minute, 0},
		"at night":                {collect.Schedule{Cron: "0 3 * * *", Zone: time.UTC}, Status{Asked: now.Add(-time.Hour)}, 15 * time.Hour, 0},
		"at night, and failed":    {collect.Schedule{Cron: "0 3 * * *", Zone: time.UTC}, Status{Asked: now, Failures: 2}, 2 * time.Minute, 0},
		"the clock was set back":  {collect.Schedule{Every: time.Hour}, Status{Asked: now.Add(48 * time.Hour), Failures: 1}, time.Hour, 0},
		"failed before it began":  {collect.Schedule{Every: time.Hour}, Status{Asked: now.Add(-2 * time.Minute), Failures: 9}, 0, 0},
		"refused twice":           {collect.Schedule{Every: time.Hour}, Status{Asked: now, Failures: 2}, 2 * time.Minute, 2},
		"refused, and again":      {collect.Schedule{Every: time.Hour}, Status{Asked: now.Add(-2 * time.Minute), Failures: 3}, 24*time.Hour - 2*time.Minute, 3},
		"refused, well by others": {collect.Schedule{Every: time.Hour}, Status{Asked: now}, time.Hour, 3},
	} {
		k := &keeper{
			Asker: &Asker{o: Options{Now: func() time.Time { return now }}}, server: Server{Schedule: c.schedule}, began: now.Add(-time.Minute), refused: c.refused,
		}
		if got := k.due(c.status).Sub(now); got != c.want {
			t.Errorf("%s: in %s, want %s", name, got, c.want)
		}
	}
}

// TestRefused: a login that is refused again and again is tried once a day, as servers lock accounts; any other outcome begins anew.
func TestRefused(t *testing.T) {
	db := databases.Open(t, state.Options{Folder: databases.Folder(t)})
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	k := &keeper{Asker: New(Options{Log: zerolog.Nop(), DB: db, Now: func() time.Time { return now }}), server: Server{Name: "provider", Schedule: collect.Schedule{Every: 15 * time.Minute}}}
	login := func(code int) error {
		return fmt.Errorf("asking: %w", &smtpclient.ReplyError{Command: "AUTH", Reply: smtpclient.Reply{Code: code}})
	}
	for i, c := range []struct {
		err  error
		want time.Duration
	}{
		{login(535), time.Minute},
		{login(535), 2 * time.Minute},
		{login(454), 4 * time.Minute},
		{login(535), 8 * time.Minute},
		{login(535), 15 * time.Minute},
		{login(535), 24 * time.Hour},
		{login(535), 24 * time.Hour},
		{nil, 15 * time.Minute},
		{login(535), time.Minute},
	} {
		s, err := statusOf(t.Context(), db, "provider")
		if err != nil {
			t.Fatal(err)
		}
		k.tell(t.Context(), s, nil, c.err)
		if s, err = statusOf(t.Context(), db, "provider"); err != nil || k.due(s).Sub(now) != c.want {
			t.Errorf("%d: %+v, %v: in %s, want %s", i, s, err, k.due(s).Sub(now), c.want)
		}
	}
}
