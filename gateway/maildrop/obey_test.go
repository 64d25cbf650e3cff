package maildrop_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// with makes the default policy another one.
func with(change func(*policy.Policy)) func(*maildrop.Options) {
	p := policy.Default
	change(&p)
	return func(o *maildrop.Options) { o.Policies = policy.Always(p) }
}

// uidls are the messages that are shown, in their order.
func uidls(drop pop3.Maildrop) string {
	var all []string
	for n := 1; n <= drop.Len(); n++ {
		all = append(all, drop.UIDL(n))
	}
	return strings.Join(all, " ")
}

// TestWhatIsShown: which messages, and in which order. The store has four, a day apart, and one
// whose age it does not know.
func TestWhatIsShown(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name   string
		change func(*policy.Policy)
		want   string
	}{
		{"by default", func(*policy.Policy) {}, "d4 d3 d2 d1 undated"},
		{"newest first", func(p *policy.Policy) { p.Newest = true }, "undated d1 d2 d3 d4"},
		{"of an age", func(p *policy.Policy) { p.Age = 2*day + day/2 }, "d2 d1 undated"},
		{"so many", func(p *policy.Policy) { p.Messages = 3 }, "d2 d1 undated"},
		{"as many as there are", func(p *policy.Policy) { p.Messages = 5 }, "d4 d3 d2 d1 undated"},
		{"of an age, so many, newest first", func(p *policy.Policy) { p.Age, p.Messages, p.Newest = 4*day-1, 2, true }, "undated d1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, with(c.change))
			for n := 4; n >= 1; n-- {
				g.store.add(fmt.Sprint("d", n), fmt.Sprintf("Subject: %d\r\n\r\n", n))
				g.store.entries[4-n].Received = time.Now().Add(-time.Duration(n) * day)
			}
			g.store.add("undated", letter)
			drop := g.login()
			if got := uidls(drop); got != c.want {
				t.Fatalf("%s is shown", got)
			}
			for n, id := range strings.Fields(c.want) {
				got, err := read(t, drop, n+1, -1)
				if want := g.store.bodies[backends.MessageID(id)]; err != nil || got != want {
					t.Errorf("message %d is %q, %v, not %q", n+1, got, err, want)
				}
				if size, err := drop.Size(t.Context(), n+1); size != int64(len(got)) || err != nil {
					t.Errorf("message %d has %d octets, %v, not %d", n+1, size, err, len(got))
				}
			}
			if err := drop.Update(t.Context(), []int{1}); err != nil {
				t.Fatal(err)
			}
			if first, _, _ := strings.Cut(c.want, " "); fmt.Sprint(g.store.removed) != "["+first+"]" {
				t.Errorf("removed %q, not what was number 1: %s", g.store.removed, first)
			}
		})
	}
}

// TestQuarantineInAnyOrder: what is held is held where it is shown, and what is not shown is not
// forgotten.
func TestQuarantineInAnyOrder(t *testing.T) {
	r := newQuarantineGateway(t, with(func(p *policy.Policy) { p.Newest, p.Age = true, time.Hour }))
	r.bad["m1"], r.bad["m3"] = errDamaged, errDamaged
	for n, want := range []bool{true, false, true} {
		if got, err := r.ask(n + 1); err != nil || isNotice(got) != want {
			t.Fatalf("message %d: %q, %v", n+1, got, err)
		}
	}
	r.store.entries[0].Received = time.Now().Add(-2 * time.Hour)
	drop := r.login()
	if got := uidls(drop); got != "m3 m2" {
		t.Errorf("%s is shown", got)
	}
	if got, err := read(t, drop, 1, -1); err != nil || !isNotice(got) {
		t.Errorf("%q, %v", got, err)
	}
	if got := r.state("m1"); got != "held" {
		t.Errorf("the message that is not shown is %q", got)
	}
}

func TestProtocolOff(t *testing.T) {
	g := newGateway(t, with(func(p *policy.Policy) { p.POP3 = false }))
	for password, want := range map[string]string{"sesame": "-ERR [SYS/PERM]", "wrong": "-ERR [AUTH]"} {
		if _, err := g.session().Password(t.Context(), "alice", []byte(password)); code(err) != want {
			t.Errorf("with the password %s: %v", password, err)
		}
	}
	g.idle()
}

func TestSessionsOfAnAccount(t *testing.T) {
	sessions := &policy.Sessions{}
	two := with(func(p *policy.Policy) { p.Sessions = 2 })
	// Each is another folder, so that the lock is in nobody's way.
	open := func(folder string) (*pop3.Login, error) {
		g := newGateway(t, two, func(o *maildrop.Options) { o.Sessions, o.Folder = sessions, folder })
		return g.session().Password(t.Context(), "alice", []byte("sesame"))
	}
	first, err := open("a")
	if err != nil {
		t.Fatal(err)
	}
	second, err := open("b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open("c"); code(err) != "-ERR [IN-USE]" {
		t.Errorf("the third session: %v", err)
	}
	_ = first.Close()
	_ = first.Close() // does not count twice
	third, err := open("c")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open("d"); code(err) != "-ERR [IN-USE]" {
		t.Errorf("the fourth session: %v", err)
	}
	_, _ = second.Close(), third.Close()
}

func TestDisposal(t *testing.T) {
	g := newGateway(t, with(func(p *policy.Policy) { p.Disposal = backends.DisposalTrash }))
	g.store.add("m1", letter)
	if err := g.login().Update(t.Context(), []int{1}); err != nil || g.store.disposal != backends.DisposalTrash {
		t.Errorf("disposal %d, %v", g.store.disposal, err)
	}
}

func TestLimitsAreThePolicys(t *testing.T) {
	g := newGateway(t, with(func(p *policy.Policy) { p.Idle, p.Session, p.Age = time.Hour, 2*time.Hour, 30*24*time.Hour }))
	opened := g.login()
	if opened.IdleTimeout != time.Hour || opened.SessionLimit != 2*time.Hour {
		t.Errorf("%v, %v", opened.IdleTimeout, opened.SessionLimit)
	}
	if opened.Expire != "30" {
		t.Errorf("EXPIRE %s", opened.Expire)
	}
}
