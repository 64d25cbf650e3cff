//go:build linux

package jmap_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestRefusedSubmissions: what a server refuses for good is told as that, with the reason that the
// sender can do something about, and what it refuses for now as that (RFC 8621 §7.5).
func TestRefusedSubmissions(t *testing.T) {
	for name, c := range map[string]struct {
		refusal map[string]any
		smtp    int
		code    string
		text    string // is a part of what the client is told
	}{
		"forbiddenFrom":      {map[string]any{"type": "forbiddenFrom"}, 554, "5.7.1", "From"},
		"forbiddenMailFrom":  {map[string]any{"type": "forbiddenMailFrom", "description": "not yours"}, 554, "5.7.1", "MAIL FROM"},
		"forbiddenToSend":    {map[string]any{"type": "forbiddenToSend", "description": "You have reached\r\n250 your daily limit"}, 554, "5.7.1", "may not send mail: You have reached 250 your daily limit"},
		"forbidden":          {map[string]any{"type": "forbidden", "description": "at host-7.internal"}, 554, "5.7.1", "may not send mail"},
		"accountReadOnly":    {map[string]any{"type": "accountReadOnly"}, 554, "5.7.1", "may not send mail"},
		"tooLarge":           {map[string]any{"type": "tooLarge", "maxSize": 1000}, 552, "5.3.4", "1000 octets"},
		"tooLarge, no size":  {map[string]any{"type": "tooLarge"}, 552, "5.3.4", "too large"},
		"tooLarge, odd size": {map[string]any{"type": "tooLarge", "maxSize": "ten"}, 552, "5.3.4", "too large"},
		"tooManyRecipients":  {map[string]any{"type": "tooManyRecipients", "maxRecipients": 0}, 554, "5.5.3", "too many recipients"},
		"noRecipients":       {map[string]any{"type": "noRecipients"}, 554, "5.5.1", "no recipients"},
		"invalidRecipients":  {map[string]any{"type": "invalidRecipients", "invalidRecipients": []string{one}}, 550, "5.1.3", "not valid"},
		"invalidRecipients, whose server puts off": {map[string]any{"type": "invalidRecipients", "description": "451 4.7.1 greylisted"}, 451, "4.7.1", "greylisted"},
		"invalidRecipients, whose server refuses":  {map[string]any{"type": "invalidRecipients", "description": "550 5.1.1 nobody of that name"}, 550, "5.1.1", "nobody of that name"},
		"invalidEmail":         {map[string]any{"type": "invalidEmail", "properties": []string{"from", "sentAt"}}, 554, "5.6.0", "from, sentAt"},
		"overQuota":            {map[string]any{"type": "overQuota"}, 452, "4.2.2", "your own mailbox"},
		"rateLimit":            {map[string]any{"type": "rateLimit"}, 451, "4.7.0", ""},
		"serverUnavailable":    {map[string]any{"type": "serverUnavailable"}, 451, "4.3.0", ""},
		"serverFail":           {map[string]any{"type": "serverFail"}, 451, "4.3.0", ""},
		"one of its own":       {map[string]any{"type": "urn:example:sleeping"}, 451, "4.3.0", ""},
		"invalidProperties":    {map[string]any{"type": "invalidProperties", "properties": []string{"envelope"}}, 554, "5.5.4", "as it is addressed"},
		"the content, by SMTP": {map[string]any{"type": "forbiddenToSend", "description": "554 5.7.1 no spam please"}, 554, "5.7.1", "no spam please"},
		"a type that is none":  {map[string]any{"type": 7}, 451, "4.3.0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := startOutbox(t)
			o.refuse = func([]string) map[string]any { return c.refusal }
			s := o.store(t, map[string]any{"submission": true})
			verdicts, err := s.Send(t.Context(), ada(), backends.Delivery{Key: "k", Envelope: backends.Envelope{From: user}, Recipients: backends.To(one)}, strings.NewReader(letter("x")))
			if err != nil || len(verdicts) != 1 || verdicts[0].Failure == nil {
				t.Fatalf("%+v, %v", verdicts, err)
			}
			reply := verdicts[0].Failure.Reply()
			if reply.SMTP != c.smtp || reply.Code != c.code || !strings.Contains(reply.Text, c.text) || strings.Contains(reply.Text, "internal") {
				t.Errorf("told as %d %s %s; wanted %d %s with %q", reply.SMTP, reply.Code, reply.Text, c.smtp, c.code, c.text)
			}
			if left := o.kept(); left != "" {
				t.Errorf("left are %s", left)
			}
		})
	}
}

// TestRefusedImports: the same where a message is delivered, of which the recipient is not guilty.
func TestRefusedImports(t *testing.T) {
	for kind, want := range map[string]struct {
		smtp int
		code string
	}{
		"invalidEmail": {554, "5.6.0"}, "overQuota": {452, "4.2.2"}, "tooLarge": {552, "5.3.4"}, "notFound": {451, "4.3.0"}, "blobNotFound": {451, "4.3.0"},
		"serverFail": {451, "4.3.0"}, "rateLimit": {451, "4.7.0"},
	} {
		t.Run(kind, func(t *testing.T) {
			f := startFake(t)
			f.methods["Email/import"] = func(map[string]any) (any, bool) {
				return map[string]any{"notCreated": map[string]any{"m": map[string]any{"type": kind}}}, true
			}
			s := f.store(t, map[string]any{"delivery": map[string]any{"accounts": map[string]string{user: secret}}})
			verdicts, err := s.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To(user)}, strings.NewReader(letter("x")))
			if err != nil || verdicts[0].Failure == nil {
				t.Fatalf("%+v, %v", verdicts, err)
			}
			if reply := verdicts[0].Failure.Reply(); reply.SMTP != want.smtp || reply.Code != want.code {
				t.Errorf("told as %d %s %s", reply.SMTP, reply.Code, reply.Text)
			}
		})
	}
}

// TestImportsThatPass: an import that a server fails at for a moment is asked for again by itself,
// some times, whether the message is delivered or to be sent: nothing was created (RFC 8620 §3.6.2,
// §5.3), and a message that is there nevertheless is not made twice.
func TestImportsThatPass(t *testing.T) {
	refused := func(e map[string]any) func() (any, bool) {
		return func() (any, bool) { return map[string]any{"notCreated": map[string]any{"m": e}}, true }
	}
	for name, c := range map[string]struct {
		answer  func() (any, bool)
		created bool // by the first attempt, whatever it says
		fails   int  // attempts that fail
		most    int  // attempts
		want    backends.Kind
	}{
		"the object":                   {refused(map[string]any{"type": "serverFail", "description": "System I/O error"}), false, 3, 4, 0},
		"the method":                   {func() (any, bool) { return map[string]any{"type": "serverFail"}, false }, false, 3, 4, 0},
		"the blob is lost":             {refused(map[string]any{"type": "invalidProperties", "properties": []string{"blobId"}}), false, 3, 4, 0},
		"it is there nevertheless":     {refused(map[string]any{"type": "serverFail"}), true, 1, 2, 0},
		"and would be there twice":     {refused(map[string]any{"type": "serverFail"}), true, 1, 1, 0},
		"each time":                    {refused(map[string]any{"type": "serverFail"}), false, 1000, 8, backends.Temporary},
		"for a reason that stays":      {refused(map[string]any{"type": "overQuota"}), false, 1, 1, backends.OverQuota},
		"a property that is not right": {refused(map[string]any{"type": "invalidProperties", "properties": []string{"mailboxIds"}}), false, 1, 1, backends.Temporary},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, way := range []string{"delivered", "sent"} {
				o, asked := startOutbox(t), 0
				o.twice = name == "and would be there twice"
				if name == "it is there nevertheless" { // and is not found yet
					o.methods["Email/query"] = func(map[string]any) (any, bool) { return map[string]any{"ids": []any{}}, true }
				}
				importing := o.methods["Email/import"]
				o.methods["Email/import"] = func(arguments map[string]any) (any, bool) {
					o.mu.Lock()
					asked++
					fails := asked <= c.fails || o.blob == ""
					if fails && name == "the blob is lost" {
						o.blob = ""
					}
					o.mu.Unlock()
					if !fails || c.created && asked == 1 {
						answer, good := importing(arguments)
						if !fails {
							return answer, good
						}
					}
					return c.answer()
				}
				s := o.store(t, map[string]any{"submission": true, "delivery": map[string]any{"accounts": map[string]string{user: secret}}})
				d := backends.Delivery{Key: "k", Envelope: backends.Envelope{From: user}, Recipients: backends.To(user)}
				var verdicts []backends.Verdict
				var err error
				if way == "sent" {
					verdicts, err = s.Send(t.Context(), ada(), d, strings.NewReader(letter("x")))
				} else {
					verdicts, err = s.Deliver(t.Context(), d, strings.NewReader(letter("x")))
				}
				var failure *backends.Failure
				if err != nil {
					failure = backends.AsFailure(err) // a message that cannot be imported is sent to nobody
				} else {
					failure = verdicts[0].Failure
				}
				if kindOf(failure) != c.want {
					t.Errorf("%s: %+v, %v", way, verdicts, err)
				}
				copies := 0
				if c.want == 0 {
					copies = 1
				}
				if asked > c.most || len(o.drafts) != copies {
					t.Errorf("%s: asked for %d times, and %d messages are there", way, asked, len(o.drafts))
				}
			}
		})
	}
}

// TestTooManyRecipients: the recipients whom a server does not take together go in further
// submissions, and each has one copy (RFC 8621 §7.5, RFC 5321 §4.5.3.1.10).
func TestTooManyRecipients(t *testing.T) {
	var many []string
	for i := range 25 {
		many = append(many, fmt.Sprintf("r%d@far.example", i))
	}
	told := func(most int, refusal map[string]any) func([]string) map[string]any {
		return func(to []string) map[string]any {
			if len(to) > most {
				return refusal
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		refuse func([]string) map[string]any
		limits map[string]int
		most   int // submissions asked for
		failed map[string]backends.Kind
	}{
		"with its number":             {told(10, map[string]any{"type": "tooManyRecipients", "maxRecipients": 10}), nil, 4, nil},
		"one at a time":               {told(1, map[string]any{"type": "tooManyRecipients", "maxRecipients": 1}), nil, 26, nil},
		"without its number":          {told(10, map[string]any{"type": "tooManyRecipients"}), nil, 10, nil},
		"a number that is odd":        {told(10, map[string]any{"type": "tooManyRecipients", "maxRecipients": "ten"}), nil, 10, nil},
		"a number that is a lie":      {told(10, map[string]any{"type": "tooManyRecipients", "maxRecipients": 100}), nil, 10, nil},
		"by its mail server":          {told(10, map[string]any{"type": "forbiddenToSend", "description": "452 4.5.3 too many recipients"}), nil, 10, nil},
		"by 552":                      {told(10, map[string]any{"type": "tooManyRecipients", "description": "552 5.5.3 too many recipients"}), nil, 10, nil},
		"a request that is too large": {told(100, nil), map[string]int{"maxSizeRequest": 1000}, 10, nil},
		"and one that is refused": {func(to []string) map[string]any {
			if len(to) > 10 {
				return map[string]any{"type": "tooManyRecipients", "maxRecipients": 10}
			}
			if slices.Contains(to, many[3]) {
				return map[string]any{"type": "invalidRecipients", "invalidRecipients": []string{many[3]}}
			}
			return nil
		}, nil, 5, map[string]backends.Kind{many[3]: backends.NotFound}},
		"an invalid one that is not named": {func(to []string) map[string]any {
			if slices.Contains(to, many[3]) {
				return map[string]any{"type": "invalidRecipients", "invalidRecipients": []string{"R3 <r3@FAR>"}}
			}
			return nil
		}, nil, 26, map[string]backends.Kind{many[3]: backends.NotFound}},
	} {
		t.Run(name, func(t *testing.T) {
			o := startOutbox(t)
			o.refuse = c.refuse
			for limit, value := range c.limits {
				o.limit(limit, value)
			}
			verdicts, err := o.store(t, map[string]any{"submission": true}).
				Send(t.Context(), ada(), backends.Delivery{Key: "k", Envelope: backends.Envelope{From: user}, Recipients: backends.To(many...)}, strings.NewReader(letter("x")))
			if err != nil || len(verdicts) != len(many) {
				t.Fatalf("%d verdicts, %v", len(verdicts), err)
			}
			for i, v := range verdicts {
				copies := 1
				if c.failed[many[i]] != 0 {
					copies = 0
				}
				if v.Recipient != many[i] || kindOf(v.Failure) != c.failed[many[i]] || o.sent[many[i]] != copies {
					t.Errorf("%s: %v, and was sent %d copies", v.Recipient, v.Failure, o.sent[many[i]])
				}
			}
			if n := o.count("EmailSubmission/set"); n > c.most {
				t.Errorf("it was submitted %d times", n)
			}
		})
	}
}

// TestLoginAgain: a sending session whose login the server refuses in its middle tells so of that message,
// and fetches the session resource again for the next one; while it is good it fetches it once.
func TestLoginAgain(t *testing.T) {
	o := startOutbox(t)
	s := o.store(t, map[string]any{"submission": true})
	session, err := s.OpenSending(t.Context(), ada())
	if err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	upload := o.paths["upload"]
	o.paths["upload"] = func(w http.ResponseWriter, r *http.Request) {
		if over.CompareAndSwap(true, false) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		upload(w, r)
	}
	logins := func() (n int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, r := range o.seen {
			if strings.HasPrefix(r.URL.Path, "/session") {
				n++
			}
		}
		return n
	}
	first := logins()
	for i, c := range []struct {
		over   bool
		kind   backends.Kind
		logins int // since the beginning
	}{{false, 0, 1}, {false, 0, 1}, {true, backends.BadCredentials, 1}, {false, 0, 2}, {false, 0, 2}} {
		over.Store(c.over)
		name := fmt.Sprint("letter ", i)
		d := backends.Delivery{Key: fmt.Sprint("k", i), Envelope: backends.Envelope{From: user}, Recipients: backends.To(one)}
		verdicts, err := session.Send(t.Context(), d, strings.NewReader(letter(name)))
		if backends.KindOf(err) != c.kind || err == nil && verdicts[0].Failure != nil {
			t.Errorf("%s: %+v, %v", name, verdicts, err)
		}
		if n := logins() - first; n != c.logins {
			t.Errorf("%s: %d logins, want %d", name, n, c.logins)
		}
	}
	if n := o.sent[one]; n != 4 {
		t.Errorf("%d were sent, want 4", n)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	_, err = session.Send(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To(one)}, strings.NewReader(""))
	if backends.KindOf(err) != backends.Temporary {
		t.Errorf("after its end: %v", err)
	}
}
