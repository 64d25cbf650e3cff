package imap_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/test/fakeimap"
)

// letterOf is a message of so many octets, all of whose lines differ.
func letterOf(octets int) string { return longLetter()[:octets-2] + "\r\n" }

var longLetter = sync.OnceValue(func() string {
	var text strings.Builder
	text.WriteString("Subject: letter\r\n\r\n")
	for text.Len() < 4<<20 {
		fmt.Fprintf(&text, "line %010d\r\n", text.Len())
	}
	return text.String()
})

// loggedStore is a store whose log a test reads.
func loggedStore(t *testing.T, f *fakeimap.Server, more map[string]any) (*imap.Store, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	settings := map[string]any{"address": f.Address, "tls": "none", "timeout": "5s"}
	for k, v := range more {
		settings[k] = v
	}
	s := imap.New(imap.WithLogger(zerolog.New(zerolog.SyncWriter(&log))))
	if err := s.Configure(t.Context(), given(t, settings)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, &log
}

// fetchSized fetches a message, and checks that a size which is told before it is true.
func fetchSized(t *testing.T, d backends.Maildrop, id backends.MessageID) (string, error) {
	t.Helper()
	c, err := d.Fetch(t.Context(), backends.FetchRequest{ID: id})
	if err != nil {
		return "", err
	}
	defer c.Close()
	octets, err := io.ReadAll(c)
	if size := c.Size(); err == nil && size >= 0 && size != int64(len(octets)) {
		t.Errorf("message %s: %d octets came after %d were told", id, len(octets), size)
	}
	return string(octets), err
}

// TestMessageEnds: where a message ends is found out, whatever the server gives at a time, and
// however it answers for a part at its end.
func TestMessageEnds(t *testing.T) {
	t.Parallel()
	lengths := []int{100, 16383, 16384, 16385, 32767, 32768, 32769, 49152, 144_000, 32768 + 262144 - 1, 32768 + 262144, 32768 + 262144 + 1, 32768 + 2*262144, 700_000}
	for name, f := range map[string]*fakeimap.Server{
		"as asked for":                        {},
		"at most 16 KiB":                      {PartMost: 16384},
		"at most 1000 octets":                 {PartMost: 1000},
		"at most 40000 octets":                {PartMost: 40000},
		"NO at the end":                       {PastEnd: "NO"},
		"BAD at the end":                      {PastEnd: "BAD"},
		"NIL at the end":                      {PastEnd: "NIL"},
		"nothing at the end":                  {PastEnd: "-"},
		"an empty string at the end":          {PastEnd: `""`},
		"no value at the end":                 {PastEnd: ")\r\n* 1 FETCH (UID 1"},
		"at most 16 KiB, and NO at the end":   {PartMost: 16384, PastEnd: "NO"},
		"at most 16 KiB, NIL at the end":      {PartMost: 16384, PastEnd: "NIL"},
		"at most 4 KiB, nothing at the end":   {PartMost: 4096, PastEnd: "-"},
		"sizes are too large":                 {SizeOff: 90},
		"sizes are too large, at most 16 KiB": {SizeOff: 90, PartMost: 16384},
		"sizes are too large, NIL at the end": {SizeOff: 90, PastEnd: "NIL"},
		"sizes are too small":                 {SizeOff: -50},
		"sizes are too small, at most 16 KiB": {SizeOff: -50, PartMost: 16384},
		"sizes are too small, NIL at the end": {SizeOff: -50, PastEnd: "NIL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, length := range lengths {
				f.Messages = append(f.Messages, fakeimap.Message{UID: i + 1, Content: letterOf(length)})
			}
			f = fakeimap.Start(t, f)
			d := openInbox(t, storeOf(t, f, map[string]any{"timeout": "1m"})) // no time-out is to be met
			list(t, d)
			for i, length := range lengths {
				got, err := fetchSized(t, d, backends.MessageID(fmt.Sprintf("7.%d", i+1)))
				if want := f.Messages[i].Content; got != want || err != nil {
					t.Errorf("of %d octets %d came (%v)", length, len(got), err)
				}
			}
			if n := f.Accepted(); n != 1 {
				t.Errorf("it took %d connections", n)
			}
		})
	}
}

// TestPartsThatAreIgnored: a server that gives the whole message whatever part it is asked for can be
// read, as long as messages are not too long for that.
func TestPartsThatAreIgnored(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"BODY[]", "BODY[]<0>"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lengths := []int{100, 32767, 32768, 32769, 100_000, 32768 + 262144, 32768 + 262144 + 1, 700_000, 4 << 20}
			f := &fakeimap.Server{Whole: name}
			for i, length := range lengths {
				f.Messages = append(f.Messages, fakeimap.Message{UID: i + 1, Content: letterOf(length)})
			}
			f.Messages = append(f.Messages, fakeimap.Message{UID: 50, Content: letterOf(4<<20) + "x\r\n"})
			f = fakeimap.Start(t, f)
			d := openInbox(t, storeOf(t, f, map[string]any{"timeout": "1m"})) // no time-out is to be met
			list(t, d)
			for i, length := range lengths {
				got, err := fetchSized(t, d, backends.MessageID(fmt.Sprintf("7.%d", i+1)))
				if want := f.Messages[i].Content; got != want || err != nil {
					t.Errorf("of %d octets %d came (%v)", length, len(got), err)
				}
			}
			if n := f.Accepted(); n != 1 {
				t.Errorf("it took %d connections", n)
			}
			asked := len(f.Heard("UID FETCH 8 (UID BODY"))
			if got, err := fetchSized(t, d, "7.8"); got != letterOf(700_000) || err != nil {
				t.Errorf("of 700000 octets %d came (%v)", len(got), err)
			}
			if n := len(f.Heard("UID FETCH 8 (UID BODY")) - asked; n != 1 {
				t.Errorf("once it is known, a message is sent %d times", n)
			}
			if got, err := fetchSized(t, d, "7.50"); err == nil {
				t.Errorf("a message that is too long for that gives %d octets", len(got))
			}
			if got, err := fetchSized(t, d, "7.1"); got != letterOf(100) || err != nil {
				t.Errorf("its neighbour gives %d octets (%v)", len(got), err)
			}
		})
	}
}

// TestWholeThatIsNot: a literal that is longer than the part is the whole message only where it has the
// size that was listed, and that the server says again.
func TestWholeThatIsNot(t *testing.T) {
	t.Parallel()
	announced := func(octets int) fakeimap.Rule {
		return fakeimap.Rule{Command: `^UID FETCH 4 \(UID BODY`, Make: func(tag, _, _ string) string {
			return fmt.Sprintf("* 2 FETCH (UID 4 BODY[] {%d}\r\n%s)\r\n%s OK done\r\n", octets, letterOf(100_000), tag)
		}}
	}
	for name, tt := range map[string]struct {
		size    string // as listed
		rules   []fakeimap.Rule
		timeout string // that ends the wait for octets that do not come; a busy machine needs some to connect again
	}{
		"shorter than listed":            {size: "100002"},
		"longer than listed":             {size: "99998"},
		"no size was listed":             {size: "-"},
		"another size when asked again":  {rules: []fakeimap.Rule{on("UID FETCH 4 (UID RFC822.SIZE)", "* 2 FETCH (UID 4 RFC822.SIZE 99998)\nTAG OK done\n")}},
		"no size when asked again":       {rules: []fakeimap.Rule{on("UID FETCH 4 (UID RFC822.SIZE)", "TAG OK done\n")}},
		"a refusal when asked again":     {rules: []fakeimap.Rule{on("UID FETCH 4 (UID RFC822.SIZE)", "TAG NO not now\n")}},
		"announced as listed, and short": {size: "100060", rules: []fakeimap.Rule{announced(100_060)}, timeout: "5s"},
		"announced as listed, and long":  {size: "99940", rules: []fakeimap.Rule{announced(99_940)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := twoMessages()
			f.Messages[1] = fakeimap.Message{UID: 4, Content: letterOf(100_000), Size: tt.size}
			f.Whole, f.On = "BODY[]", tt.rules
			f = fakeimap.Start(t, f)
			d := openInbox(t, storeOf(t, f, map[string]any{"timeout": cmp.Or(tt.timeout, "1m")}))
			list(t, d)
			for range 2 {
				if got, err := fetch(t, d, "7.4"); err == nil {
					t.Errorf("it gives %d octets", len(got))
				}
			}
			if got, err := fetch(t, d, "7.1"); got != one || err != nil {
				t.Errorf("the other is %q (%v)", got, err)
			}
		})
	}
}

// TestCut: a message of which much less comes than the server said is cut, each by itself: what
// became of others, or was read ahead before, lets none pass.
func TestCut(t *testing.T) {
	t.Parallel()
	cut := func(uid int, size, content int) fakeimap.Message {
		return fakeimap.Message{UID: uid, Size: fmt.Sprint(size), Content: letterOf(content)}
	}
	for name, tt := range map[string]struct {
		message fakeimap.Message
		cut     bool
	}{
		"a third of it":             {cut(9, 19189, 6298), true},
		"most of it":                {cut(9, 200_000, 197_900), true},
		"a part's length of it":     {cut(9, 400_000, 32768), true},
		"two parts of it":           {cut(9, 4_000_000, 32768+262144), true},
		"the beginning of a long":   {cut(9, 4_000_000, 1_500_000), true},
		"less than 1 KiB missing":   {cut(9, 10_000, 9_000), false},
		"less than 1 % missing":     {cut(9, 2_000_000, 1_985_000), false},
		"4 GiB missing":             {cut(9, 1<<32+10_000, 10_000), true},
		"more than the server said": {cut(9, 1000, 5000), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, &fakeimap.Server{Messages: []fakeimap.Message{
				{UID: 1, Content: letterOf(500)}, {UID: 2, Content: letterOf(600)}, cut(3, 50_000, 20_000), cut(4, 60_000, 10_000), tt.message,
			}})
			s, log := loggedStore(t, f, nil)
			for range 2 { // sessions
				d := openInbox(t, s)
				list(t, d)
				for _, id := range []backends.MessageID{"7.3", "7.4", "7.3"} {
					if got, err := fetch(t, d, id); backends.KindOf(err) != backends.Poison {
						t.Errorf("%s, which is cut, gives %d octets (%v)", id, len(got), err)
					}
				}
				for range 3 {
					got, err := fetchSized(t, d, "7.9")
					if tt.cut && backends.KindOf(err) != backends.Poison {
						t.Errorf("a cut message gives %d octets (%v)", len(got), err)
					}
					if !tt.cut && (got != tt.message.Content || err != nil) {
						t.Errorf("of %d octets %d came (%v)", len(tt.message.Content), len(got), err)
					}
				}
				if got, err := fetch(t, d, "7.1"); got != letterOf(500) || err != nil {
					t.Errorf("its neighbour gives %d octets (%v)", len(got), err)
				}
				_ = d.Close()
			}
			if lines := strings.Count(log.String(), `"uid":9,`); !tt.cut && lines != 1 {
				t.Errorf("%d lines of the log are about it:\n%s", lines, log)
			}
		})
	}
}

// TestSizeEstimates: of a server whose sizes are known to be wrong a message is served that ends far before its size, once it was given
// with as many octets as a whole, which is asked for once; one that is cut in parts is not, nor one that the server does not give so.
func TestSizeEstimates(t *testing.T) {
	t.Parallel()
	const whole = "^UID FETCH [0-9]+ \\(UID BODY.PEEK\\[\\]\\)"
	f := &fakeimap.Server{Messages: []fakeimap.Message{
		{UID: 1, Content: letterOf(500), Size: "5000"},
		{UID: 2, Content: letterOf(300_000), Size: "400000"},
		{UID: 3, Content: letterOf(1_500_000), Size: "4000000"},
		{UID: 4, Content: letterOf(20_000), Size: "1000"},
		{UID: 5, Content: letterOf(10_000), Size: "20000"},
		{UID: 6, Content: letterOf(10_000), Size: "20000"},
	}}
	f.On = []fakeimap.Rule{
		{Command: "^UID FETCH 5 \\(UID BODY.PEEK\\[\\]\\)", Answer: "* 5 FETCH (UID 5 BODY[] {4}\nabcd)\nTAG OK\n"},
		{Command: "^UID FETCH 6 \\(UID BODY.PEEK\\[\\]\\)", Answer: "TAG NO cannot\n"},
	}
	f = fakeimap.Start(t, f)
	s, _ := loggedStore(t, f, map[string]any{"size_estimates": true})
	for range 2 { // sessions
		d := openInbox(t, s)
		list(t, d)
		for _, m := range f.Messages[:4] {
			if got, err := fetch(t, d, backends.MessageID(fmt.Sprint("7.", m.UID))); got != m.Content || err != nil {
				t.Errorf("message %d: %d octets of %d came (%v)", m.UID, len(got), len(m.Content), err)
			}
		}
		if got, err := fetch(t, d, "7.5"); backends.KindOf(err) != backends.Poison {
			t.Errorf("a message of which the whole is another one gives %d octets (%v)", len(got), err)
		}
		if got, err := fetch(t, d, "7.6"); err == nil {
			t.Errorf("a message that is not given as a whole gives %d octets", len(got))
		}
		_ = d.Close()
	}
	asked := make(map[string]int)
	for _, command := range f.Heard("UID FETCH") {
		if regexp.MustCompile(whole).MatchString(command) {
			asked[strings.Fields(command)[2]]++
		}
	}
	if asked["1"] != 1 || asked["2"] != 1 || asked["3"] != 1 || asked["4"] != 0 {
		t.Errorf("they are asked for as a whole: %v", asked)
	}
}

// TestNotCanonical: a message without a last CRLF, or with a bare LF, is served, and its size is
// that of what is sent.
func TestNotCanonical(t *testing.T) {
	t.Parallel()
	lf := strings.Repeat("a line with a bare LF\n", 20)
	long := letterOf(600_000)
	f := fakeimap.Start(t, &fakeimap.Server{Messages: []fakeimap.Message{
		{UID: 1, Content: letterOf(300)},
		{UID: 2, Content: letterOf(3000)},
		{UID: 3, Content: letterOf(1000)},
		{UID: 4, Content: "Subject: x\r\n\r\nno end"},
		{UID: 5, Content: "Subject: x\n\n" + lf},
		{UID: 6, Content: letterOf(200_000) + lf},
		{UID: 7, Content: long[:len(long)-2]},
		{UID: 8, Content: letterOf(32768-6) + "no end"},
		{UID: 9, Content: letterOf(500)},
	}})
	s := storeOf(t, f, nil)
	d := openInbox(t, s)
	list(t, d)
	for i, m := range f.Messages {
		want := canonicalOf(m.Content)
		if got, err := fetchSized(t, d, backends.MessageID(fmt.Sprintf("7.%d", i+1))); got != want || err != nil {
			t.Errorf("of message %d %d octets came, not %d (%v)", m.UID, len(got), len(want), err)
		}
	}
}

func canonicalOf(text string) string {
	octets, _ := io.ReadAll(crlf.NewReader(strings.NewReader(text))) // nothing that could fail
	return string(octets)
}

// TestGoneOrNotGiven: a message is gone when it is not found on being asked for again. One that
// the server has, and gives nothing of, is one that it cannot give.
func TestGoneOrNotGiven(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body string
		rule fakeimap.Rule
		kind backends.Kind
	}{
		"NIL":                    {body: "NIL", kind: backends.Poison},
		"empty":                  {body: `""`, kind: backends.Poison},
		"an empty literal":       {body: "{0}\r\n", kind: backends.Poison},
		"not at all":             {body: "-", kind: backends.Poison},
		"no such message, there": {rule: on("UID FETCH 4 (UID BODY", "TAG NO [NONEXISTENT] no such message\n"), kind: backends.Poison},
		"removed":                {rule: fakeimap.Rule{Command: "^UID FETCH 4 |^UID SEARCH", Answer: "TAG OK\n"}, kind: backends.NotFound},
		"removed, as it says":    {rule: fakeimap.Rule{Command: "^UID FETCH 4 ", Answer: "TAG OK [EXPUNGEISSUED] gone\n"}, kind: backends.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := twoMessages()
			f.Messages[1].Body = tt.body
			f = fakeimap.Start(t, f)
			d := openInbox(t, storeOf(t, f, nil))
			list(t, d)
			if tt.rule.Command != "" {
				f.Set(tt.rule)
			}
			if tt.kind == backends.NotFound {
				f.Change(func(f *fakeimap.Server) { f.Messages = f.Messages[:1] })
			}
			for range 2 {
				if got, err := fetch(t, d, "7.4"); backends.KindOf(err) != tt.kind {
					t.Errorf("it gives %q and fails with %v", got, err)
				}
			}
			if got, err := fetch(t, d, "7.1"); got != one || err != nil {
				t.Errorf("the other is %q (%v)", got, err)
			}
		})
	}
}

// TestAskedAgainIsBounded: what a server sends unasked, when it is asked whether a message is there, is
// not taken into memory, whatever its length.
func TestAskedAgainIsBounded(t *testing.T) {
	t.Parallel()
	f := twoMessages()
	f.Messages[1].Body = "NIL"
	f = fakeimap.Start(t, f)
	d := openInbox(t, storeOf(t, f, nil))
	list(t, d)
	f.Set(on("UID FETCH 4 (UID RFC822.SIZE)", "* 2 FETCH (UID 4 BODY[] {1000000}\n"+strings.Repeat("x", 1_000_000)+")\nTAG OK\n"))
	if got, err := fetch(t, d, "7.4"); backends.KindOf(err) != backends.Temporary {
		t.Errorf("it gives %d octets and fails with %v", len(got), err)
	}
}

// TestNothingIsNotEmpty: where the server tells no size, or none that says anything, nothing of a
// message is not an empty one, and its beginning not the whole.
func TestNothingIsNotEmpty(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		message fakeimap.Message
		rule    fakeimap.Rule
		fails   bool
	}{
		"no size, and NIL":                {message: fakeimap.Message{Size: "-", Body: "NIL"}, fails: true},
		"no size, and empty":              {message: fakeimap.Message{Size: "-", Body: "{0}\r\n"}, fails: true},
		"no size, and nothing":            {message: fakeimap.Message{Size: "-", Body: "-"}, fails: true},
		"no size, and nothing behind":     {message: fakeimap.Message{Size: "-"}, rule: on("UID FETCH 9 (UID BODY.PEEK[]<32768", "TAG OK done\n"), fails: true},
		"a size of NIL, and an empty one": {message: fakeimap.Message{Size: "NIL", Body: `""`}, fails: true},
		"no size, and NO behind":          {message: fakeimap.Message{Size: "-"}, rule: on("UID FETCH 9 (UID BODY.PEEK[]<32768", "TAG NO cannot\n"), fails: true},
		"size 0, and NIL":                 {message: fakeimap.Message{Size: "0", Body: "NIL"}, fails: true},
		"size 0, and nothing":             {message: fakeimap.Message{Size: "0", Body: "-"}, fails: true},
		"size 0, and nothing behind":      {message: fakeimap.Message{Size: "0"}, rule: on("UID FETCH 9 (UID BODY.PEEK[]<32768", "TAG OK done\n"), fails: true},
		"no size, and all of it":          {message: fakeimap.Message{Size: "-"}},
		"size 0, and all of it":           {message: fakeimap.Message{Size: "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.message.UID, tt.message.Content = 9, letterOf(100_000)
			f := fakeimap.Start(t, &fakeimap.Server{Messages: []fakeimap.Message{{UID: 1, Content: letterOf(500)}, tt.message}})
			d := openInbox(t, storeOf(t, f, nil))
			list(t, d)
			if tt.fails && tt.rule.Command != "" {
				f.Set(tt.rule)
			}
			for range 2 {
				got, err := fetchSized(t, d, "7.9")
				if tt.fails != (err != nil) || backends.KindOf(err) == backends.NotFound || err == nil && got != tt.message.Content {
					t.Errorf("%d octets came (%v)", len(got), err)
				}
			}
			if got, err := fetch(t, d, "7.1"); got != letterOf(500) || err != nil {
				t.Errorf("its neighbour gives %d octets (%v)", len(got), err)
			}
		})
	}
}

// TestEmptyMessage: a message of no octets is one.
func TestEmptyMessage(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, &fakeimap.Server{Messages: []fakeimap.Message{{UID: 1, Content: ""}, {UID: 2, Content: letterOf(500)}}})
	d := openInbox(t, storeOf(t, f, nil))
	if got := list(t, d); len(got) != 2 || got[0].Size != 0 || got[0].Exact || !got[1].Exact {
		t.Errorf("the list is %+v", got)
	}
	if got, err := fetchSized(t, d, "7.1"); got != "" || err != nil {
		t.Errorf("it gives %q (%v)", got, err)
	}
}

// TestEchoedSections: servers that repeat what was asked for, and not what they give.
func TestEchoedSections(t *testing.T) {
	t.Parallel()
	for name, echo := range map[string]func(uid int, item string) string{
		"with its length": func(_ int, item string) string { return strings.Replace(item, "> ", ".262144> ", 1) },
		"with PEEK":       func(_ int, item string) string { return strings.Replace(item, "BODY[", "BODY.PEEK[", 1) },
		"with both": func(_ int, item string) string {
			return strings.NewReplacer("BODY[", "BODY.PEEK[", "> ", ".9> ").Replace(item)
		},
		"without a blank": func(_ int, item string) string { return strings.Replace(item, "> ", ">", 1) },
		"in lower case":   func(_ int, item string) string { return strings.Replace(item, "BODY[", "body.peek[", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeimap.Server{Fetch: func(n int, m fakeimap.Message, items []string) string {
				for i, item := range items {
					if before, literal, found := strings.Cut(item, "\r\n"); found && strings.HasPrefix(item, "BODY[") {
						items[i] = echo(m.UID, before) + "\r\n" + literal
					}
				}
				return fmt.Sprintf("* %d FETCH (%s)\r\n", n, strings.Join(items, " "))
			}}
			f.Messages = []fakeimap.Message{{UID: 1, Content: letterOf(500)}, {UID: 2, Content: letterOf(700_000)}}
			d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
			list(t, d)
			for _, m := range f.Messages {
				if got, err := fetchSized(t, d, backends.MessageID(fmt.Sprintf("7.%d", m.UID))); got != m.Content || err != nil {
					t.Errorf("of %d octets %d came (%v)", len(m.Content), len(got), err)
				}
			}
		})
	}
}

// TestLengthThatIsWrong: a literal that is announced longer than it is ends within the store's own
// time-out, and what follows it on the connection never becomes part of the message.
func TestLengthThatIsWrong(t *testing.T) {
	t.Parallel()
	for _, off := range []int{1, 2, 3, 20, 60, 200, 5000} {
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			t.Parallel()
			f := twoMessages()
			answer := func(tag, _, _ string) string {
				return fmt.Sprintf("* 2 FETCH (UID 4 BODY[]<0> {%d}\r\n%s)\r\n%s OK done\r\n", len(two)+off, two, tag)
			}
			f.Messages = append(f.Messages, fakeimap.Message{UID: 5, Content: letterOf(900)}, fakeimap.Message{UID: 6, Content: letterOf(900)})
			f = fakeimap.Start(t, f)
			timeout := "1m"
			if off > 3 {
				timeout = "5s" // ends it; the others end within the answer, and a busy machine needs time to connect again
			}
			d := openInbox(t, storeOf(t, f, map[string]any{"timeout": timeout, "connections": map[string]any{"noop": "50ms"}}))
			list(t, d)
			f.Set(fakeimap.Rule{Command: "^UID FETCH 4 .*BODY", Make: answer})
			begin := time.Now()
			if got, err := fetch(t, d, "7.4"); err == nil {
				t.Errorf("it gives %q", got)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			if got, err := fetch(t, d, "7.5"); got != letterOf(900) || err != nil {
				t.Errorf("the next is %q (%v)", got, err)
			}
		})
	}
}
