package attention

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// days is so many days from noon.
func days(n int) time.Time { return noon.Add(time.Duration(n) * day) }

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name string
		c    Concern
		want Severity
		end  string
	}{
		{"next year", Concern{Until: days(300)}, Later, "on 2027-09-26, in 300 days"},
		{"31 days", Concern{Until: days(31)}, Later, "on 2026-12-31, in 31 days"},
		{"30 days", Concern{Until: days(30)}, Notice, "on 2026-12-30, in 30 days"},
		{"a week", Concern{Until: days(7)}, Warning, "on 2026-12-07, in 7 days"},
		{"tomorrow", Concern{Until: days(1)}, Warning, "on 2026-12-01, in one day"},
		{"today", Concern{Until: noon.Add(time.Hour)}, Warning, "on 2026-11-30 13:00:00 UTC, within a day"},
		{"now", Concern{Until: noon}, Critical, "since 2026-11-30 12:00:00 UTC"},
		{"over, and no more than a warning", Concern{Until: days(-1), Most: Warning}, Warning, "since 2026-11-29 12:00:00 UTC"},
		{"no end", Concern{}, Warning, ""},
		{"no end, and worse", Concern{Severity: Critical}, Critical, ""},
		{"no end, and less", Concern{Severity: Notice}, Notice, ""},
		{"worse than its end", Concern{Severity: Critical, Until: days(300)}, Critical, "on 2027-09-26, in 300 days"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.c.judge(noon)
			if test.c.Severity != test.want || test.c.End(noon) != test.end {
				t.Errorf("%v %q, want %v %q", test.c.Severity, test.c.End(noon), test.want, test.end)
			}
		})
	}
}

func TestDaysLeft(t *testing.T) {
	for until, want := range map[time.Time]int{days(2): 2, noon.Add(47 * time.Hour): 1, noon.Add(time.Hour): 0, noon: 0, noon.Add(-time.Second): -1, days(-1): -1, days(-2): -2} {
		if got := DaysLeft(until, noon); got != want {
			t.Errorf("%v: %d, want %d", until, got, want)
		}
	}
}

func TestSeverityAsText(t *testing.T) {
	for _, s := range []Severity{Later, Notice, Warning, Critical} {
		text, err := json.Marshal(s)
		var back Severity
		if err != nil || json.Unmarshal(text, &back) != nil || back != s {
			t.Errorf("%s: %v, %v", text, back, err)
		}
	}
	var unknown Severity
	if json.Unmarshal([]byte(`"catastrophic"`), &unknown) != nil || unknown != Critical {
		t.Error(unknown)
	}
}

// listing is a source whose concerns a test changes.
type listing struct {
	all []Concern
	err error
}

func (l *listing) list(context.Context) ([]Concern, error) { return l.all, l.err }

func keys(all []Concern) (keys []string) {
	for _, c := range all {
		keys = append(keys, c.Key)
	}
	return keys
}

// TestRegistry: what is listed and what is raised is there, the worst first, until it is over; and what ends next year is
// known without needing attention.
func TestRegistry(t *testing.T) {
	now := noon
	var log bytes.Buffer
	r := New(Options{Log: zerolog.New(&log), Now: func() time.Time { return now }})
	source := &listing{all: []Concern{
		{Key: "late", Kind: Certificate, Text: "a late one ends", Until: days(300)},
		{Key: "soon", Kind: Certificate, Text: "a certificate ends", Until: days(3)},
	}}
	r.Source("certificates", source.list)
	r.Raise(Concern{Key: "token", Kind: Token, Severity: Critical, Text: "no token\x00\r\nfor m365"})
	r.Look(t.Context())
	if got := keys(r.Concerns()); !slices.Equal(got, []string{"token", "soon"}) {
		t.Errorf("needs attention: %q", got)
	}
	if got := keys(r.Ends()); !slices.Equal(got, []string{"soon", "late"}) {
		t.Errorf("ends: %q", got)
	}
	if got := r.Concerns()[0]; got.Text != "no token  for m365" || !got.Since.Equal(noon) {
		t.Errorf("%+v", got)
	}
	if lines := strings.Count(log.String(), "needs attention"); lines != 2 || !strings.Contains(log.String(), `"days":3`) {
		t.Errorf("%d lines:\n%s", lines, &log)
	}

	log.Reset()
	now = noon.Add(time.Hour)
	source.err = errors.New("the database does not answer")
	r.Look(t.Context())
	r.Look(t.Context())
	if got := keys(r.Concerns()); !slices.Equal(got, []string{"token", "soon"}) {
		t.Errorf("a source that fails has forgotten: %q", got)
	}
	if n := strings.Count(log.String(), "does not answer"); n != 1 || strings.Contains(log.String(), "needs attention:") {
		t.Errorf("%d lines:\n%s", n, &log)
	}

	log.Reset()
	source.all, source.err = source.all[:1], nil
	r.Clear("token")
	r.Look(t.Context())
	if got := r.Concerns(); len(got) > 0 || strings.Count(log.String(), "needs no attention any more") != 2 {
		t.Errorf("%+v\n%s", got, &log)
	}
	r.Source("certificates", nil)
	if got := r.Ends(); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

// TestToldDaily: the log has what lasts once a day, and at once what gets worse.
func TestToldDaily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged, looks atomic.Int64
		log := zerolog.New(io.Discard).Hook(zerolog.HookFunc(func(*zerolog.Event, zerolog.Level, string) { logged.Add(1) }))
		r := New(Options{Log: log, Looked: func(context.Context) { looks.Add(1) }})
		until := time.Now().Add(12*day + time.Hour)
		r.Source("one", func(context.Context) ([]Concern, error) {
			return []Concern{{Key: "one", Kind: Secret, Text: "the secret ends", Until: until}}, nil
		})
		go r.Run(t.Context())
		lines := func(after time.Duration) int64 {
			time.Sleep(after)
			synctest.Wait()
			return logged.Swap(0)
		}
		if n := lines(3 * day); n != 3 && n != 4 {
			t.Errorf("%d lines in three days", n)
		}
		lines(day + time.Hour) // 8 days are left
		if n := lines(day); n != 2 {
			t.Errorf("%d lines on the day that it becomes a warning, want one for the day and one for that", n)
		}
		if n := looks.Load(); n < 5*24*60 {
			t.Errorf("%d looks", n)
		}
	})
}

// TestSinceStays: a concern that a source lists began when it was listed first.
func TestSinceStays(t *testing.T) {
	now := noon
	r := New(Options{Log: zerolog.Nop(), Now: func() time.Time { return now }})
	source := &listing{all: []Concern{{Key: "store", Kind: Store, Text: "fails"}}}
	r.Source("stores", source.list)
	r.Look(t.Context())
	now = now.Add(time.Hour)
	r.Look(t.Context())
	if got := r.Concerns(); !got[0].Since.Equal(noon) {
		t.Error(got[0].Since)
	}
	if got := Settled(r.Concerns(), noon.Add(time.Minute)); len(got) != 0 {
		t.Errorf("a store that has failed for a minute is worth a mail: %+v", got)
	}
	if got := Settled(r.Concerns(), now); len(got) != 1 {
		t.Errorf("a store that has failed for an hour is not worth a mail")
	}
}

// TestAgainAndAgain: what happens again and again, with a time of its own each time, lasts since it was first there, and is
// worth a mail.
func TestAgainAndAgain(t *testing.T) {
	now := noon
	r := New(Options{Log: zerolog.Nop(), Now: func() time.Time { return now }})
	r.Source("devices", func(context.Context) ([]Concern, error) {
		return []Concern{{Key: "device:scanner failed", Kind: Device, Severity: Notice, Text: "has failed", Since: now.Add(-time.Minute)}}, nil
	})
	for range 12 {
		r.Look(t.Context())
		now = now.Add(5 * time.Minute)
	}
	if got := r.Concerns(); len(got) != 1 || !got[0].Since.Equal(noon.Add(-time.Minute)) || len(Settled(got, now)) != 1 {
		t.Errorf("%+v, of which a mail has %d", got, len(Settled(got, now)))
	}
}

// TestSentence: what is over is told as such.
func TestSentence(t *testing.T) {
	for _, c := range []struct {
		text string
		days int
		want string
	}{
		{"the device scanner ends", 3, "the device scanner ends on 2026-12-03, in 3 days"},
		{"the device scanner ends", -1, "the device scanner ended on 2026-11-29 12:00:00 UTC"},
		{"the token is void", -1, "the token is void since 2026-11-29 12:00:00 UTC"},
	} {
		if got := (Concern{Text: c.text, Until: days(c.days)}).Sentence(noon); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

// TestManyConcerns: memory, mails and logs are bounded, and the worst stay.
func TestManyConcerns(t *testing.T) {
	r := New(Options{Log: zerolog.Nop(), Now: func() time.Time { return noon }})
	source := &listing{}
	for i := range 3 * sourceMost {
		source.all = append(source.all, Concern{Key: fmt.Sprint(i), Kind: Password, Text: strings.Repeat("long ", 1000), Until: days(29)})
	}
	source.all[2*sourceMost].Until = days(-1)
	r.Source("passwords", source.list)
	r.Look(t.Context())
	all := r.Concerns()
	if len(all) != sourceMost || all[0].Key != fmt.Sprint(2*sourceMost) || !slices.Contains(keys(all), "passwords:more") || len(all[0].Text) > textMost+10 {
		t.Errorf("%d concerns, %q first", len(all), all[0].Key)
	}
	for i := range 2 * raisedMost {
		r.Raise(Concern{Key: fmt.Sprint("raised ", i), Kind: Token})
	}
	if n := len(r.Concerns()); n != sourceMost+raisedMost {
		t.Errorf("%d concerns", n)
	}
	letter := Letter{Hostname: "gate.example", From: "postmaster@gate.example", To: "admin@sakes.example", Key: "k", Date: noon, Concerns: r.Concerns()}
	if n := len(letter.Bytes()); n > 200<<10 {
		t.Errorf("a mail of %d octets", n)
	}
}

// TestSlowSource: those that never answer delay the others by the time of one at the most.
func TestSlowSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{Log: zerolog.Nop()})
		r.Source("hangs, too", func(ctx context.Context) ([]Concern, error) { <-ctx.Done(); return nil, ctx.Err() })
		r.Source("hangs", func(ctx context.Context) ([]Concern, error) { <-ctx.Done(); return nil, ctx.Err() })
		r.Source("well", func(context.Context) ([]Concern, error) { return []Concern{{Key: "here"}}, nil })
		began := time.Now()
		r.Look(t.Context())
		if took := time.Since(began); took != sourceTime || len(r.Concerns()) != 1 {
			t.Errorf("%v, %d concerns", took, len(r.Concerns()))
		}
	})
}

func TestLetter(t *testing.T) {
	l := Letter{
		Hostname: "gate.example", From: "postmaster@gate.example", To: "admin@sakes.example", Key: "attention-2026-11-30", Date: noon,
		Concerns: []Concern{
			{Key: "a", Severity: Critical, Text: "the store m365 gets no token: OAuth: secret expired", Advice: "make a new client secret for the application, put it in the place of the old one and reload", Since: days(-1)},
			{Key: "b", Severity: Notice, Text: "the certificate /etc/dipylon/mail.crt of the listeners ends", Advice: "renew it.", Until: days(20)},
			{Key: "c", Severity: Notice, Text: "the application password of Jürgen ends", Until: days(25)},
		},
	}
	raw := l.Bytes()
	if bytes.ContainsFunc(raw, func(r rune) bool { return r >= 0x80 }) || bytes.Contains(bytes.ReplaceAll(raw, []byte("\r\n"), nil), []byte("\n")) {
		t.Error("not ASCII with CRLF")
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header.Get("Subject"); got != "gate.example: 3 things need attention, mail may stop" {
		t.Error(got)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	const want = `The mail gateway gate.example asks for your attention.

Mail is stopped, or about to be
-------------------------------

* The store m365 gets no token: OAuth: secret expired.
  What to do: make a new client secret for the application, put it in the
  place of the old one and reload.
  Since 2026-11-29 12:00:00 UTC.

To be done within weeks
-----------------------

* The certificate /etc/dipylon/mail.crt of the listeners ends on 2026-12-20,
  in 20 days.
  What to do: renew it.

* The application password of Jürgen ends on 2026-12-25, in 25 days.

"dipylon status" on the gateway shows this list as it is now. This mail
comes once a day, as long as there is something in it. Nobody reads answers
to it.
`
	if got := strings.ReplaceAll(string(text), "\r\n", "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
