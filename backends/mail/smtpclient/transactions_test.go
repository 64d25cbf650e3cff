package smtpclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// beyond refuses what is more than most recipients in a transaction.
func beyond(most int, reply string) func(fakesmtp.Transaction, string) string {
	return func(t fakesmtp.Transaction, _ string) string {
		if t.Took >= most {
			return reply
		}
		return ""
	}
}

const letter = "Subject: x\r\n\r\n.dot\r\n"

// TestMoreRecipientsThanFit: everybody gets one copy, however the server says how many it takes
// at once.
func TestMoreRecipientsThanFit(t *testing.T) {
	for name, tt := range map[string]struct {
		server       *fakesmtp.Server
		recipients   int
		domains      int
		transactions int // at the most
		connections  int // 0: one
	}{
		"452 4.5.3":               {server: &fakesmtp.Server{Rcpt: beyond(100, "452 4.5.3 too many recipients")}, recipients: 250, transactions: 3},
		"552 5.5.3":               {server: &fakesmtp.Server{Rcpt: beyond(100, "552 5.5.3 too many recipients")}, recipients: 250, transactions: 3},
		"452 bare":                {server: &fakesmtp.Server{Rcpt: beyond(100, "452 no more")}, recipients: 250, transactions: 3},
		"552 bare":                {server: &fakesmtp.Server{Rcpt: beyond(100, "552 no more")}, recipients: 250, transactions: 3},
		"550 in words":            {server: &fakesmtp.Server{Rcpt: beyond(20, "550 Too many recipients")}, recipients: 50, transactions: 3},
		"451 with another code":   {server: &fakesmtp.Server{Rcpt: beyond(20, "451 4.3.0 Too many recipients in one message")}, recipients: 50, transactions: 3},
		"452 in several lines":    {server: &fakesmtp.Server{Rcpt: beyond(20, "452-4.5.3 there are\n452 4.5.3 too many")}, recipients: 50, transactions: 3},
		"one at a time":           {server: &fakesmtp.Server{Rcpt: beyond(1, "452 4.5.3 one")}, recipients: 7, transactions: 7},
		"421 at the number":       {server: &fakesmtp.Server{Rcpt: beyond(20, "421 4.5.3 too many recipients")}, recipients: 50, transactions: 4, connections: 2},
		"LIMITS RCPTMAX":          {server: &fakesmtp.Server{Offers: []string{"LIMITS RCPTMAX=20"}, Rcpt: beyond(20, "554 5.7.0 abuse")}, recipients: 50, transactions: 3},
		"LIMITS MAILMAX":          {server: &fakesmtp.Server{Offers: []string{"LIMITS RCPTMAX=20 MAILMAX=2"}, Rcpt: beyond(20, "554 5.7.0 abuse")}, recipients: 90, transactions: 5, connections: 3},
		"LIMITS in small letters": {server: &fakesmtp.Server{Offers: []string{"limits rcptmax=20"}, Rcpt: beyond(20, "554 5.7.0 abuse")}, recipients: 50, transactions: 3},
		"LIMITS RCPTDOMAINMAX":    {server: &fakesmtp.Server{Offers: []string{"LIMITS RCPTDOMAINMAX=2"}}, recipients: 50, domains: 5, transactions: 3},
		"LIMITS that are none":    {server: &fakesmtp.Server{Offers: []string{"LIMITS RCPTMAX=0 MAILMAX=x RCPTDOMAINMAX"}}, recipients: 50, transactions: 1},
		"less than announced":     {server: &fakesmtp.Server{Offers: []string{"LIMITS RCPTMAX=40"}, Rcpt: beyond(20, "452 4.5.3 busy")}, recipients: 50, transactions: 3},
		"a domain at a time": {server: &fakesmtp.Server{Rcpt: func(t fakesmtp.Transaction, path string) string {
			_, domain, _ := strings.Cut(path, "@")
			if len(t.Paths) > 0 && !strings.HasSuffix(t.Paths[0], "@"+domain) {
				return "451-4.3.0 Multiple destination domains per transaction is unsupported.\n451 4.3.0 Please try again."
			}
			return ""
		}}, recipients: 12, domains: 3, transactions: 3},
		"one message a connection, 421": {server: &fakesmtp.Server{Rcpt: beyond(20, "452 4.5.3 no"), Mail: func(t fakesmtp.Transaction) string {
			if t.Number > 1 {
				return "421 4.7.0 enough"
			}
			return ""
		}}, recipients: 50, transactions: 5, connections: 3},
		"one message a connection, 452": {server: &fakesmtp.Server{Rcpt: beyond(20, "452 4.5.3 no"), Mail: func(t fakesmtp.Transaction) string {
			if t.Number > 1 {
				return "452 4.5.1 too many messages in this session"
			}
			return ""
		}}, recipients: 50, transactions: 5, connections: 3},
		"RCPTs are counted, not those taken": {server: &fakesmtp.Server{Rcpt: func(t fakesmtp.Transaction, path string) string {
			switch {
			case t.Rcpts >= 10:
				return "452 4.5.3 too many"
			case strings.HasPrefix(path, "r1@"), strings.HasPrefix(path, "r2@"):
				return "550 5.1.1 nobody"
			}
			return ""
		}}, recipients: 30, transactions: 4},
	} {
		for _, how := range []string{"", "PIPELINING", "PIPELINING LMTP", "CHUNKING"} {
			t.Run(strings.TrimSpace(name+" "+how), func(t *testing.T) {
				server := &fakesmtp.Server{Offers: append(strings.Fields(strings.TrimSuffix(how, "LMTP")), tt.server.Offers...), Rcpt: tt.server.Rcpt, Mail: tt.server.Mail}
				server.LMTP = strings.HasSuffix(how, "LMTP")
				server.Start(t)
				c := dial(t, server.Address, smtpclient.Options{LMTP: server.LMTP, TempDir: t.TempDir()})
				to := many(tt.recipients, max(tt.domains, 1))
				verdicts, err := send(t, c, smtpclient.Envelope{ReversePath: "ada@gate.example", Recipients: to}, io.MultiReader(strings.NewReader(letter)))
				if err != nil {
					t.Fatal(err)
				}
				copies := server.Copies(letter)
				for i, r := range to {
					nobody := name == "RCPTs are counted, not those taken" && (i == 1 || i == 2)
					if v := verdicts[i]; v.Recipient != r || (v.Failure == nil) == nobody {
						t.Fatalf("the verdict on %s is %v", r, v)
					}
					if want := map[bool]int{false: 1}[nobody]; copies[r] != want {
						t.Fatalf("%s has %d copies", r, copies[r])
					}
				}
				if server.Transactions() > tt.transactions || server.Connections() != max(tt.connections, 1) {
					t.Errorf("%d transactions on %d connections", server.Transactions(), server.Connections())
				}
			})
		}
	}
}

// TestTooManyAfterRcpt: a server that takes every RCPT and refuses their number with the content gets
// half of them at a time. Where the content cannot be sent again they are all told, and nobody has it.
func TestTooManyAfterRcpt(t *testing.T) {
	many50 := many(50, 1)
	late := func(t fakesmtp.Transaction) string {
		if t.Took > 20 {
			return "552 5.5.3 too many recipients"
		}
		return ""
	}
	for name, tt := range map[string]struct {
		server  *fakesmtp.Server
		content io.Reader
		taken   bool
	}{
		"at DATA":                         {&fakesmtp.Server{Data: late}, io.MultiReader(strings.NewReader(letter)), true},
		"after DATA, content goes back":   {&fakesmtp.Server{End: func(t fakesmtp.Transaction, _ string) string { return late(t) }}, strings.NewReader(letter), true},
		"after DATA, content is gone":     {&fakesmtp.Server{End: func(t fakesmtp.Transaction, _ string) string { return late(t) }}, io.MultiReader(strings.NewReader(letter)), false},
		"with BDAT, content goes back":    {&fakesmtp.Server{Offers: []string{"CHUNKING"}, End: func(t fakesmtp.Transaction, _ string) string { return late(t) }}, strings.NewReader(letter), true},
		"always":                          {&fakesmtp.Server{Data: func(fakesmtp.Transaction) string { return "452 4.5.3 too many recipients" }}, strings.NewReader(letter), false},
		"always, and the session is over": {&fakesmtp.Server{Data: func(fakesmtp.Transaction) string { return "421 4.5.3 too many recipients" }}, strings.NewReader(letter), false},
	} {
		t.Run(name, func(t *testing.T) {
			server := tt.server.Start(t)
			c := dial(t, server.Address, smtpclient.Options{})
			verdicts, err := send(t, c, smtpclient.Envelope{Recipients: many50}, tt.content)
			if (err != nil) != strings.Contains(name, "over") {
				t.Fatal(err)
			}
			copies := server.Copies(letter)
			for _, v := range verdicts {
				if tt.taken && (v.Failure != nil || copies[v.Recipient] != 1) || !tt.taken && (v.Failure == nil || v.Failure.Reply().Code != "4.5.3") {
					t.Fatalf("%v, %d copies", v, copies[v.Recipient])
				}
			}
			if !tt.taken && len(copies) > 0 || server.Transactions() > 7 {
				t.Errorf("%d have copies after %d transactions", len(copies), server.Transactions())
			}
		})
	}
}

// TestNumberThatIsNone: what says "too many" to the first recipient does not speak of the
// transaction. All are told, nobody has a copy, and it has an end.
func TestNumberThatIsNone(t *testing.T) {
	for name, tt := range map[string]struct{ reply, want string }{
		"452 4.5.3":                  {"452 4.5.3 too many today", "temporary 4.5.3"},
		"552 5.5.3":                  {"552 5.5.3 too many today", "temporary 4.5.3"},
		"550 5.5.3":                  {"550 5.5.3 too many for you", "permanent 5.5.3"},
		"552 bare is a full mailbox": {"552 no", "over quota 4.2.2"},
		"552 in words":               {"552 too many recipients", "temporary 4.5.3"},
	} {
		t.Run(name, func(t *testing.T) {
			server := (&fakesmtp.Server{Rcpt: beyond(0, tt.reply)}).Start(t)
			c := dial(t, server.Address, smtpclient.Options{})
			verdicts, err := send(t, c, smtpclient.Envelope{Recipients: many(3, 1)}, strings.NewReader(letter))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range verdicts {
				if v.Failure == nil || v.Failure.Kind.String()+" "+v.Failure.Reply().Code != tt.want {
					t.Errorf("%s: %v, want %s", v.Recipient, v.Failure, tt.want)
				}
			}
			if server.Transactions() != 1 || len(server.Received()) > 0 {
				t.Errorf("%d transactions, %d messages", server.Transactions(), len(server.Received()))
			}
		})
	}
}

// TestRefusedAlone: whoever is refused with nobody beside it is refused for itself, in whatever words, and
// those behind it are asked.
func TestRefusedAlone(t *testing.T) {
	server := (&fakesmtp.Server{Offers: []string{"LIMITS RCPTMAX=1"}, Rcpt: func(_ fakesmtp.Transaction, path string) string {
		if strings.HasPrefix(path, "r0@") {
			return "550 5.5.3 too many recipients behind this name"
		}
		return ""
	}}).Start(t)
	c := dial(t, server.Address, smtpclient.Options{})
	outcomes, err := c.Send(t.Context(), smtpclient.Envelope{Recipients: many(3, 1)}, strings.NewReader(letter))
	if err != nil {
		t.Fatal(err)
	}
	copies := server.Copies(letter)
	for i, o := range outcomes {
		if (o.Err == nil) != (i > 0) || (copies[o.Recipient] == 1) != (i > 0) {
			t.Errorf("%s: %v, %d copies", o.Recipient, o.Err, copies[o.Recipient])
		}
	}
}

// TestNumberThatTeachesNothing: a server that goes at a number, and has refused others for it before
// it took one, is not asked the same again and again.
func TestNumberThatTeachesNothing(t *testing.T) {
	server := (&fakesmtp.Server{Offers: []string{"PIPELINING"}, Rcpt: func(t fakesmtp.Transaction, _ string) string {
		return []string{"452 4.5.3 too many recipients", "", "421 4.5.3 too many recipients"}[min(t.Rcpts, 2)]
	}}).Start(t)
	c := dial(t, server.Address, smtpclient.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	outcomes, err := c.Send(ctx, smtpclient.Envelope{Recipients: many(3, 1)}, strings.NewReader(letter))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if refused, is := errors.AsType[*smtpclient.ReplyError](o.Err); !is || refused.Code != 452 {
			t.Errorf("%s: %v", o.Recipient, o.Err)
		}
	}
	if n := server.Transactions(); n > 4 {
		t.Errorf("%d transactions", n)
	}
}

// TestFullMailboxAmongOthers: a bare 552 in the middle is about that mailbox alone, wherever it
// stands.
func TestFullMailboxAmongOthers(t *testing.T) {
	for _, full := range []string{"r0@", "r2@", "r4@", "r0@ r1@", "r3@ r4@"} {
		t.Run(full, func(t *testing.T) {
			is := func(path string) bool {
				for prefix := range strings.FieldsSeq(full) {
					if strings.HasPrefix(path, prefix) {
						return true
					}
				}
				return false
			}
			server := (&fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
				if is(path) {
					return "552 mailbox full"
				}
				return ""
			}}).Start(t)
			c := dial(t, server.Address, smtpclient.Options{})
			verdicts, err := send(t, c, smtpclient.Envelope{Recipients: many(5, 1)}, strings.NewReader(letter))
			if err != nil {
				t.Fatal(err)
			}
			copies := server.Copies(letter)
			for _, v := range verdicts {
				if is(v.Recipient) != (backends.KindOf(asError(v.Failure)) == backends.OverQuota) || copies[v.Recipient] != map[bool]int{false: 1}[is(v.Recipient)] {
					t.Errorf("%s: %v, %d copies", v.Recipient, v.Failure, copies[v.Recipient])
				}
			}
		})
	}
}

func asError(f *backends.Failure) error {
	if f == nil {
		return nil
	}
	return f
}

// TestNotKept: where content cannot be kept for a further transaction, it is refused to all
// before anybody has a copy.
func TestNotKept(t *testing.T) {
	large := letter + strings.Repeat("0123456789abcdef\r\n", 64<<10)
	for name, tt := range map[string]struct {
		content io.Reader
		dir     string
	}{
		"no folder":         {io.MultiReader(strings.NewReader(large)), filepath.Join(t.TempDir(), "missing")},
		"content that ends": {io.MultiReader(strings.NewReader(letter), failing{errors.New("gone")}), t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			server := (&fakesmtp.Server{Rcpt: beyond(2, "452 4.5.3 too many recipients")}).Start(t)
			c := dial(t, server.Address, smtpclient.Options{TempDir: tt.dir})
			verdicts, err := send(t, c, smtpclient.Envelope{Recipients: many(5, 1)}, tt.content)
			if err == nil || len(server.Received()) > 0 {
				t.Errorf("%v, %v, %d messages", verdicts, err, len(server.Received()))
			}
		})
	}
}

// TestKeptOnDisk: content of a further transaction is not held in memory, and leaves no file.
func TestKeptOnDisk(t *testing.T) {
	large := letter + strings.Repeat("0123456789abcdef\r\n", 64<<10)
	server := (&fakesmtp.Server{Rcpt: beyond(2, "452 4.5.3 too many recipients")}).Start(t)
	dir := t.TempDir()
	c := dial(t, server.Address, smtpclient.Options{TempDir: dir})
	for name, content := range map[string]io.Reader{
		"a stream": io.MultiReader(strings.NewReader(large)),
		"a reader that can go back, from where it stands": func() io.Reader {
			r := strings.NewReader("not this" + large)
			_, _ = r.Seek(8, io.SeekStart)
			return r
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			server.Forget()
			verdicts, err := send(t, c, smtpclient.Envelope{Recipients: many(5, 1)}, content)
			if err != nil || len(verdicts) != 5 {
				t.Fatal(verdicts, err)
			}
			for r, n := range server.Copies(large) {
				if n != 1 {
					t.Errorf("%s has %d", r, n)
				}
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%d files are left", len(left))
			}
		})
	}
}

// TestLaterTransactionFails: those who have their copy keep it, the others are told the truth.
func TestLaterTransactionFails(t *testing.T) {
	second := func(reply string) func(fakesmtp.Transaction) string {
		return func(t fakesmtp.Transaction) string {
			if t.Session > 1 || t.Number > 1 {
				return reply
			}
			return ""
		}
	}
	for name, tt := range map[string]struct {
		server *fakesmtp.Server
		want   string
	}{
		"DATA is refused":                 {&fakesmtp.Server{Data: second("451 4.3.0 later")}, "temporary 4.3.0"},
		"the content is refused":          {&fakesmtp.Server{End: func(t fakesmtp.Transaction, _ string) string { return second("554 5.7.1 no")(t) }}, "permanent 5.7.1"},
		"MAIL is refused, and again":      {&fakesmtp.Server{Mail: second("452 4.7.1 too much")}, "temporary 4.7.1"},
		"the server goes, and does again": {&fakesmtp.Server{Mail: second("421 4.3.2 bye")}, "temporary 4.3.2"},
		"it goes without an answer":       {&fakesmtp.Server{Data: second("421 4.3.2 bye")}, "temporary 4.4.2"},
	} {
		t.Run(name, func(t *testing.T) {
			server := tt.server
			server.Rcpt = beyond(2, "452 4.5.3 too many recipients")
			server.Start(t)
			c := dial(t, server.Address, smtpclient.Options{})
			verdicts, err := send(t, c, smtpclient.Envelope{Recipients: many(5, 1)}, io.MultiReader(strings.NewReader(letter)))
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range verdicts {
				got := "taken"
				if v.Failure != nil {
					got = v.Failure.Kind.String() + " " + v.Failure.Reply().Code
				}
				if want := map[bool]string{true: "taken", false: tt.want}[i < 2]; got != want {
					t.Errorf("%s: %s, want %s (%v)", v.Recipient, got, want, v.Failure)
				}
			}
			if n := len(server.Received()); n != 1 {
				t.Errorf("%d messages were taken", n)
			}
		})
	}
}

// TestAskMoreThanFit: the question at RCPT has the same limits.
func TestAskMoreThanFit(t *testing.T) {
	server := (&fakesmtp.Server{Offers: []string{"PIPELINING"}, Rcpt: func(t fakesmtp.Transaction, path string) string {
		if strings.HasPrefix(path, "r70@") {
			return "550 5.1.1 nobody"
		}
		return beyond(20, "452 4.5.3 too many")(t, path)
	}}).Start(t)
	c := dial(t, server.Address, smtpclient.Options{LMTP: true})
	verdicts, err := ask(t, c, smtpclient.Envelope{Recipients: many(90, 1)})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range verdicts {
		if (v.Failure == nil) != (i != 70) {
			t.Errorf("%v", v)
		}
	}
	if len(server.Received()) > 0 {
		t.Error("a question was delivered")
	}
}

// TestStorageReplies is the one table for 452 and 552, and for what is refused at MAIL.
func TestStorageReplies(t *testing.T) {
	for _, tt := range []struct{ at, reply, want string }{
		{"MAIL", "552 no", "too large 5.3.4"},
		{"MAIL", "552 5.3.4 too large", "too large 5.3.4"},
		{"MAIL", "552 5.2.3 too large for it", "too large 5.2.3"},
		{"MAIL", "452 no space", "temporary 4.3.1"},
		{"MAIL", "452 4.3.4 too large now", "temporary 4.3.4"},
		{"MAIL", "452 4.3.1 no space", "temporary 4.3.1"},
		{"MAIL", "550 not you", "permanent 5.3.0"},
		{"RCPT", "552 5.2.2 full", "over quota 4.2.2"},
		{"RCPT", "552 no", "over quota 4.2.2"},
		{"RCPT", "452 no", "over quota 4.2.2"},
		{"RCPT", "552 5.3.4 too large for it", "too large 5.3.4"},
		{"RCPT", "550 nobody", "not found 5.1.1"},
		{"DATA", "452 no", "temporary 4.3.1"},
		{"end", "552 no", "over quota 4.2.2"},
		{"end", "552 5.2.2 full", "over quota 4.2.2"},
		{"end", "552 message size exceeds fixed maximum message size", "too large 5.3.4"},
		{"end", "552-5.7.0 This message was blocked\n552 5.7.0 because of its content", "permanent 5.7.0"},
		{"end", "452 no space", "temporary 4.3.1"},
		{"end", "550 spam", "permanent 5.3.0"},
		{"LMTP", "552 no", "over quota 4.2.2"},
		{"LMTP", "452 over quota", "over quota 4.2.2"},
		{"LMTP", "550 nobody", "not found 5.1.1"},
	} {
		t.Run(tt.at+" "+tt.reply, func(t *testing.T) {
			server := &fakesmtp.Server{LMTP: tt.at == "LMTP"}
			switch tt.at {
			case "MAIL":
				server.Mail = func(fakesmtp.Transaction) string { return tt.reply }
			case "RCPT":
				server.Rcpt = func(fakesmtp.Transaction, string) string { return tt.reply }
			case "DATA":
				server.Data = func(fakesmtp.Transaction) string { return tt.reply }
			default:
				server.End = func(fakesmtp.Transaction, string) string { return tt.reply }
			}
			server.Start(t)
			c := dial(t, server.Address, smtpclient.Options{LMTP: server.LMTP})
			verdicts, err := send(t, c, smtpclient.Envelope{Recipients: []string{"a@s"}}, strings.NewReader(letter))
			if err != nil {
				t.Fatal(err)
			}
			f := verdicts[0].Failure
			if got := fmt.Sprintf("%s %s", f.Kind, f.Reply().Code); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if strings.Contains(f.Text, "5.7.0") {
				t.Errorf("the text has the code: %q", f.Text)
			}
		})
	}
}

// many are n recipients of some domains.
func many(n, domains int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("r%d@d%d.example", i, i%domains))
	}
	return all
}

// TestAfterCancel: a message that is given up costs the next one nothing but another connection.
func TestAfterCancel(t *testing.T) {
	server := (&fakesmtp.Server{}).Start(t)
	client, err := smtpclient.Dial(t.Context(), "tcp", server.Address, smtpclient.Options{Hello: "gate.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	e := smtpclient.Envelope{ReversePath: "a@x.example", Recipients: []string{"b@x.example"}}
	ctx, cancel := context.WithCancel(t.Context())
	content := io.MultiReader(strings.NewReader(letter), readFunc(func([]byte) (int, error) { cancel(); return 0, ctx.Err() }))
	if _, err := client.Send(ctx, e, content); err == nil {
		t.Error("a message that was given up is sent")
	}
	if outcomes, err := client.Send(t.Context(), e, strings.NewReader(letter)); err != nil || outcomes[0].Err != nil {
		t.Error(outcomes, err)
	}
	if n := len(server.Received()); n != 1 {
		t.Errorf("%d messages arrived", n)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
