package imap_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/fakeimap"
)

// fiveMessages has UIDs 2, 4, 6, 8 and 10.
func fiveMessages() *fakeimap.Server {
	f := &fakeimap.Server{}
	for uid := 2; uid <= 10; uid += 2 {
		f.Messages = append(f.Messages, fakeimap.Message{UID: uid, Content: fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", uid, strings.Repeat("x", uid))})
	}
	return f
}

// listOf is the list in short: "uid:size", with S for seen and ? for a date that is not known.
func listOf(t *testing.T, d backends.Maildrop) string {
	t.Helper()
	var all []string
	for _, e := range list(t, d) {
		_, uid, _ := strings.Cut(string(e.ID), ".")
		one := fmt.Sprintf("%s:%d", uid, e.Size)
		if e.Exact && e.Size < 0 {
			t.Errorf("of %s it is said that its size, which is not known, is exact", e.ID)
		}
		if e.Seen {
			one += "S"
		}
		if e.Received.IsZero() {
			one += "?"
		}
		all = append(all, one)
	}
	return strings.Join(all, " ")
}

// TestOddValues: one odd value in the answer about one message costs no more than itself. What the
// list needs is UID, size and two flags; whoever leaves one of them out is asked again.
func TestOddValues(t *testing.T) {
	t.Parallel()
	const fine = "2:18 4:20 %s 8:24 10:27"
	right := func(items string) string { return "* 3 FETCH (" + items + ")\r\n" }
	for name, tt := range map[string]struct {
		answer string // about the message with UID 6
		want   string
	}{
		"in another order":               {right(`RFC822.SIZE 22 FLAGS (\Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" UID 6`), "6:22S"},
		"a date that is none":            {right(`UID 6 FLAGS () INTERNALDATE "yesterday" RFC822.SIZE 22`), "6:22?"},
		"a date of the year 1":           {right(`UID 6 FLAGS () INTERNALDATE "01-Jan-0001 00:00:00 +0000" RFC822.SIZE 22`), "6:22?"},
		"a date that is NIL":             {right(`UID 6 FLAGS () INTERNALDATE NIL RFC822.SIZE 22`), "6:22?"},
		"a date that is empty":           {right(`UID 6 FLAGS () INTERNALDATE "" RFC822.SIZE 22`), "6:22?"},
		"a date without quotes":          {right(`UID 6 FLAGS () INTERNALDATE 17-Jul-2026 02:44:25 -0700 RFC822.SIZE 22`), "6:22?"},
		"a date with one quote":          {right(`UID 6 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 -0700 RFC822.SIZE 22`), "6:22?"},
		"a date without a value":         {right(`UID 6 FLAGS () INTERNALDATE RFC822.SIZE 22`), "6:22?"},
		"a date of Domino":               {right(`UID 6 FLAGS () INTERNALDATE "17-Jul-126 02:44:25 -0700" RFC822.SIZE 22`), "6:22?"},
		"no date":                        {right(`UID 6 FLAGS () RFC822.SIZE 22`), "6:22?"},
		"a keyword with a bracket":       {right(`UID 6 FLAGS (\Seen [Gmail]/x]y) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22S"},
		"a keyword in quotes":            {right(`UID 6 FLAGS ("my label" \Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22S"},
		"a keyword with a quote":         {right(`UID 6 FLAGS (3"disk \Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22S"},
		"a keyword that begins a quote":  {right(`UID 6 FLAGS ("disk \Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22S"},
		"a keyword with parentheses":     {right(`UID 6 FLAGS (call(me) \Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22S"},
		"a keyword with one parenthesis": {right(`UID 6 FLAGS (:( \Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22S"},
		"a keyword with the other":       {right(`UID 6 FLAGS (\Seen :)) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22S"},
		"a keyword of 8 bits":            {right("UID 6 FLAGS (\\Seen pl\xf6tzlich) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" RFC822.SIZE 22"), "6:22S"},
		"a keyword as a literal":         {"* 3 FETCH (UID 6 FLAGS (\\Seen {5}\r\nhello) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" RFC822.SIZE 22)\r\n", "6:22S"},
		"a keyword called UID":           {right(`UID 6 FLAGS (UID 7 \Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22S"},
		"an empty keyword":               {right(`UID 6 FLAGS ( \ \Seen %) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22S"},
		"flags that are NIL":             {right(`UID 6 FLAGS NIL INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22"},
		"flags in lower case":            {right(`uid 6 flags (\seen) internaldate "17-Jul-2026 02:44:25 -0700" rfc822.size 22`), "6:22S"},
		"blanks in front and behind":     {"*  3  FETCH  ( UID 6  FLAGS ( \\Seen )  INTERNALDATE  \"17-Jul-2026 02:44:25 -0700\"  RFC822.SIZE 22 ) \r\n", "6:22S"},
		"no blanks between":              {"* 3 FETCH(UID 6 FLAGS(\\Seen)INTERNALDATE\"17-Jul-2026 02:44:25 -0700\"RFC822.SIZE 22)\r\n", "6:22S"},
		"a bare LF":                      {"* 3 FETCH (UID 6 FLAGS (\\Seen) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" RFC822.SIZE 22)\n", "6:22S"},
		"an empty line":                  {"\r\n* 3 FETCH (UID 6 FLAGS (\\Seen) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" RFC822.SIZE 22)\r\n\r\n", "6:22S"},
		"no last parenthesis":            {"* 3 FETCH (UID 6 FLAGS (\\Seen) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" RFC822.SIZE 22\r\n", "6:22S"},
		"no parentheses":                 {"* 3 FETCH UID 6 FLAGS (\\Seen) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" RFC822.SIZE 22\r\n", "6:22S"},
		"no number":                      {"* FETCH (UID 6 FLAGS (\\Seen) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" RFC822.SIZE 22)\r\n", "6:22S"},
		"two lines":                      {"* 3 FETCH (UID 6 FLAGS (\\Seen\r\n) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" RFC822.SIZE 22)\r\n", "6:22"},
		"further items":                  {right(`MODSEQ (12) UID 6 X-GM-LABELS ("\\Inbox" "a)b") EMAILID (M1) FLAGS (\Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22 SAVEDATE NIL`), "6:22S"},
		"a size that is missing":         {right(`UID 6 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 -0700"`), "6:22"},
		"a size that is NIL":             {right(`UID 6 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE NIL`), "6:22"},
		"a size that is negative":        {right(`UID 6 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE -1`), "6:22"},
		"a size in quotes":               {right(`UID 6 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE "22"`), "6:22"},
		"a size beyond all":              {right(`UID 6 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 99999999999999999999`), "6:22"},
		"no UID":                         {right(`FLAGS (\Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22"},
		"no answer":                      {"", "6:22"},
		"something else":                 {"* 3 FTECH (UID 6)\r\n* X-NEWS (\"\r\nwhat\r\n", "6:22"},
		"news before it":                 {right(`UID 6 FLAGS (\Seen)`) + right(`UID 6 FLAGS (\Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22"},
		"marked as deleted":              {right(`UID 6 FLAGS (\Deleted 3"disk) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), ""},
		"very long":                      {right(`UID 6 FLAGS (` + strings.Repeat("keyword ", 10_000) + `\Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`), "6:22"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fiveMessages()
			f.On = []fakeimap.Rule{{Command: `^UID FETCH 1:\*`, Make: func(_, _, right string) string {
				lines := strings.SplitAfter(right, "\r\n")
				lines[2] = tt.answer
				return strings.Join(lines, "")
			}}}
			d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
			want := strings.Join(strings.Fields(fmt.Sprintf(fine, tt.want)), " ")
			if got := listOf(t, d); got != want {
				t.Errorf("the list is %s, not %s", got, want)
			}
			if got, err := fetch(t, d, "7.6"); got != f.Messages[2].Content || err != nil {
				t.Errorf("the message is %q (%v)", got, err)
			}
		})
	}
}

// TestOddForEver: what a server never tells in a way that can be read is not known, and a message
// of which it says nothing is left out, and logged.
func TestOddForEver(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		items string // about the message with UID 6, always
		want  string
		log   string
	}{
		"no size":   {`UID 6 FLAGS (\Seen) INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE NIL`, "2:18 4:20 6:-1S 8:24 10:27", ""},
		"no flags":  {`UID 6 FLAGS what INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`, "2:18 4:20 6:22 8:24 10:27", ""},
		"no UID":    {`FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 -0700" RFC822.SIZE 22`, "2:18 4:20 8:24 10:27", `"uid":6`},
		"two UIDs":  {`UID 6 FLAGS () UID 7 RFC822.SIZE 22`, "2:18 4:20 8:24 10:27", `"uid":6`},
		"two sizes": {`UID 6 FLAGS () RFC822.SIZE 22 " RFC822.SIZE 23`, "2:18 4:20 6:-1? 8:24 10:27", ""},
		"nothing":   {`-`, "2:18 4:20 8:24 10:27", `"uid":6`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fiveMessages()
			f.Fetch = func(n int, m fakeimap.Message, items []string) string {
				switch {
				case m.UID != 6 || strings.Contains(strings.Join(items, " "), "BODY[]"):
					return fmt.Sprintf("* %d FETCH (%s)\r\n", n, strings.Join(items, " "))
				case tt.items == "-":
					return ""
				}
				return fmt.Sprintf("* %d FETCH (%s)\r\n", n, tt.items)
			}
			var log bytes.Buffer
			s := imap.New(imap.WithLogger(zerolog.New(zerolog.SyncWriter(&log))))
			configureFor(t, s, fakeimap.Start(t, f), nil)
			if got := listOf(t, openInbox(t, s)); got != tt.want {
				t.Errorf("the list is %s, not %s", got, tt.want)
			}
			if tt.log != "" && !strings.Contains(log.String(), tt.log) {
				t.Errorf("the log has no %s: %s", tt.log, log.String())
			}
		})
	}
}

// TestOddSelect: what the answer to SELECT says of keywords, and whatever else it says, does not
// matter.
func TestOddSelect(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"keywords with brackets": `* FLAGS (\Seen [Gmail] a]b "c d" e(f)` + "\r\n" + `* OK [PERMANENTFLAGS (\Seen [Gmail] a]b "c d" \*)] ok`,
		"keywords that are NIL":  "* FLAGS NIL\r\n* OK [PERMANENTFLAGS NIL] ok",
		"codes that are odd":     "* OK [UIDNEXT NIL] next\r\n* OK [HIGHESTMODSEQ -1]\r\n* OK [UNSEEN]\r\n* OK [UIDNEXT 5 open\r\n* OK [] text\r\n* OK [(x)] text",
		"unknown types":          "* 5 NEWS\r\n* X-THING (a {b\r\n* NAMESPACE what\r\n* VANISHED 1:5",
		"a literal in one":       "* X-THING {7}\r\n* BYE x (more)",
		"blanks":                 "*  OK  [UNSEEN 1]  text  \r\n*  0  RECENT  \r\n* OK",
		"a CR in a text":         "* OK a\rb\r\n* NO [ALERT] a\r\rb",
		"an odd delimiter":       "* LIST () \"\xa7\" x\r\n* LIST () \"\ufffd\" x",
		"a name in a literal":    "* LIST (a]b) \"/\" {3}\r\na\"b\r\n* LIST () {1}\r\n/ {5}\r\na\xff\r\nb (x {1}\r\ny)\r\n* LIST () \"/\" {9000}\r\n" + strings.Repeat("x", 9000),
		"a name of UTF-8":        "* LIST () \"/\" \"Entw\xc3\xbcrfe\"\r\n* STATUS Entw\xffrfe (MESSAGES x)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fiveMessages()
			f.On = []fakeimap.Rule{{Command: "^SELECT", Make: func(_, _, right string) string { return line + "\r\n" + right }}}
			d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
			if got := listOf(t, d); got != "2:18 4:20 6:22 8:24 10:27" {
				t.Errorf("the list is %s", got)
			}
		})
	}
}

// TestListRefused: a list that ends in a refusal is completed by halves, and only what the server
// will not speak of is left out.
func TestListRefused(t *testing.T) {
	t.Parallel()
	half := func(_, _, right string) string { return strings.Join(strings.SplitAfter(right, "\r\n")[:2], "") }
	refuse := func(code string, about ...int) fakeimap.Rule {
		return fakeimap.Rule{Command: `^UID FETCH .*RFC822\.SIZE`, Make: func(tag, command, right string) string {
			var set string
			_, _ = fmt.Sscanf(command, "UID FETCH %s", &set)
			for _, uid := range about {
				if set == "1:*" || slices.Contains(uidsOf(set), uid) {
					before, _, _ := strings.Cut(right, fmt.Sprintf("UID %d ", uid))
					return before[:strings.LastIndex(before, "* ")] + tag + " " + code + " that message\r\n"
				}
			}
			return right
		}}
	}
	for name, tt := range map[string]struct {
		rules []fakeimap.Rule
		want  string
		kind  backends.Kind
		most  int // commands
	}{
		"once":                   {[]fakeimap.Rule{{Command: `^UID FETCH 1:\*`, Make: func(tag, _, right string) string { return half(tag, "", right) + tag + " NO some are gone\r\n" }}}, "2:18 4:20 6:22 8:24 10:27", 0, 2},
		"of one message":         {[]fakeimap.Rule{refuse("NO", 6)}, "2:18 4:20 8:24 10:27", 0, 9},
		"BAD":                    {[]fakeimap.Rule{refuse("BAD", 2)}, "4:20 6:22 8:24 10:27", 0, 9},
		"of two":                 {[]fakeimap.Rule{refuse("NO", 2, 10)}, "4:20 6:22 8:24", 0, 12},
		"of all":                 {[]fakeimap.Rule{refuse("NO", 2, 4, 6, 8, 10)}, "", backends.Temporary, 20},
		"an outage":              {[]fakeimap.Rule{refuse("NO [UNAVAILABLE]", 2)}, "", backends.Temporary, 1},
		"a limit":                {[]fakeimap.Rule{refuse("NO [LIMIT]", 2)}, "", backends.Throttled, 1},
		"and nothing can be had": {[]fakeimap.Rule{refuse("NO", 6), on("UID SEARCH", "TAG NO no\n")}, "", backends.Temporary, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fiveMessages()
			f.On = tt.rules
			d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
			var got []string
			var failed error
			for e, err := range d.List(t.Context()) {
				_, uid, _ := strings.Cut(string(e.ID), ".")
				got, failed = append(got, fmt.Sprintf("%s:%d", uid, e.Size)), err
			}
			if backends.KindOf(failed) != tt.kind || failed == nil && strings.Join(got, " ") != tt.want {
				t.Errorf("the list is %s and fails with %v", got, failed)
			}
			asked := 0
			for _, command := range f.Heard("UID FETCH") {
				if strings.Contains(command, "RFC822.SIZE") {
					asked++
				}
			}
			if asked > tt.most {
				t.Errorf("it took %d commands: %q", asked, f.Heard("UID FETCH"))
			}
		})
	}
}

// uidsOf reads a set as the backend writes it.
func uidsOf(set string) (all []int) {
	for part := range strings.SplitSeq(set, ",") {
		var first, last int
		if n, _ := fmt.Sscanf(part, "%d:%d", &first, &last); n < 2 {
			last = first
		}
		for uid := first; uid <= last; uid++ {
			all = append(all, uid)
		}
	}
	return all
}

// TestUIDBehindContent: the items of an answer have no order (RFC 9051 §9, msg-att).
func TestUIDBehindContent(t *testing.T) {
	t.Parallel()
	f := fiveMessages()
	f.UIDLast = true
	f.Messages[1].Content = "Subject: long\r\nX-UIDL: abc\r\n\r\n" + strings.Repeat("a line of some length\r\n", 40_000)
	fakeimap.Start(t, f)
	for _, rule := range []string{"none", "header:X-UIDL"} {
		d := openInbox(t, storeOf(t, f, map[string]any{"uidl": rule}))
		entries := list(t, d)
		if len(entries) != 5 || rule != "none" && entries[1].UIDL != "abc" {
			t.Fatalf("with the rule %s the list is %+v", rule, entries)
		}
		for i, e := range entries {
			if got, err := fetch(t, d, e.ID); got != f.Messages[i].Content || err != nil {
				t.Errorf("message %s has %d octets (%v)", e.ID, len(got), err)
			}
		}
	}
}

// TestContentIsNoAnswer: where a literal is longer than announced, content is not taken for answers,
// though it looks like them.
func TestContentIsNoAnswer(t *testing.T) {
	t.Parallel()
	f := fiveMessages()
	f.Messages[2].Content = "Subject: x\r\n\r\nx\r\n* 1 FETCH (UID 2 RFC822.SIZE 1 BODY[]<0> {1}\r\nx)\r\nT9 OK done\r\n"
	f.LiteralOff = 17 - len(f.Messages[2].Content)
	d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
	list(t, d)
	if got, err := fetch(t, d, "7.6"); err == nil || len(got) > 17 {
		t.Errorf("the message is %q (%v)", got, err)
	}
}
