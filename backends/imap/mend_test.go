package imap

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
)

// answers are lists of four messages, UIDs 101, 205, 206 and 4294967295 with sizes 1001, 2, 0 and
// 123456789, of which the second is seen and the third marked as deleted, as servers write them.
var answers = map[string]string{
	"Dovecot": `* 1 FETCH (UID 101 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 +0200" RFC822.SIZE 1001)
* 2 FETCH (UID 205 FLAGS (\Seen $Forwarded NonJunk) INTERNALDATE "18-Jul-2026 02:44:25 +0200" RFC822.SIZE 2)
* 3 FETCH (UID 206 FLAGS (\Deleted \Recent) INTERNALDATE "19-Jul-2026 02:44:25 +0200" RFC822.SIZE 0)
* 4 FETCH (UID 4294967295 FLAGS () INTERNALDATE " 9-Jul-2026 02:44:25 +0200" RFC822.SIZE 123456789)
`,
	"Cyrus": `* 1 FETCH (FLAGS (\Recent) UID 101 INTERNALDATE "17-Jul-2026 02:44:25 +0000" RFC822.SIZE 1001)
* 2 FETCH (FLAGS (\Seen) UID 205 INTERNALDATE "18-Jul-2026 02:44:25 +0000" RFC822.SIZE 2)
* 3 FETCH (FLAGS (\Deleted $x-me-annot-2) UID 206 INTERNALDATE "19-Jul-2026 02:44:25 +0000" RFC822.SIZE 0)
* 4 FETCH (FLAGS () UID 4294967295 INTERNALDATE " 9-Jul-2026 02:44:25 +0000" RFC822.SIZE 123456789)
`,
	"Courier": `* 1 FETCH (UID 101 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 +0000" RFC822.SIZE 1001)
* 2 FETCH (UID 205 FLAGS (\Seen) INTERNALDATE "18-Jul-2026 02:44:25 +0000" RFC822.SIZE 2)
* 3 FETCH (UID 206 FLAGS (\Deleted) INTERNALDATE "19-Jul-2026 02:44:25 +0000" RFC822.SIZE 0)
* 4 FETCH (UID 4294967295 FLAGS () INTERNALDATE "09-Jul-2026 02:44:25 +0000" RFC822.SIZE 123456789)
`,
	"Exchange": `* 1 FETCH (UID 101 RFC822.SIZE 1001 INTERNALDATE "17-Jul-2026 02:44:25 +0000" FLAGS ())
* 2 FETCH (UID 205 RFC822.SIZE 2 INTERNALDATE "18-Jul-2026 02:44:25 +0000" FLAGS (\Seen $MDNSent))
* 3 FETCH (UID 206 RFC822.SIZE 0 INTERNALDATE "19-Jul-2026 02:44:25 +0000" FLAGS (\Deleted))
* 4 FETCH (UID 4294967295 RFC822.SIZE 123456789 INTERNALDATE "09-Jul-2026 02:44:25 +0000" FLAGS (\Draft))
`,
	"Gmail": `* 1 FETCH (UID 101 RFC822.SIZE 1001 INTERNALDATE "17-Jul-2026 02:44:25 +0000" FLAGS ($Phishing))
* 2 FETCH (UID 205 RFC822.SIZE 2 INTERNALDATE "18-Jul-2026 02:44:25 +0000" FLAGS (\Seen [Gmail]/All "a b"))
* 3 FETCH (UID 206 RFC822.SIZE 0 INTERNALDATE "19-Jul-2026 02:44:25 +0000" FLAGS (\Deleted NotJunk))
* 4 FETCH (UID 4294967295 RFC822.SIZE 123456789 INTERNALDATE "09-Jul-2026 02:44:25 +0000" FLAGS ())
`,
	"Domino": `* 1 FETCH (FLAGS (\Recent ) INTERNALDATE "17-Jul-126 02:44:25 +0200" RFC822.SIZE 1001 UID 101)
* 2 FETCH (FLAGS (\Seen \Answered ) INTERNALDATE "18-Jul-2026 02:44:25 +0200" RFC822.SIZE 2 UID 205)
* 3 FETCH (FLAGS (\Deleted ) INTERNALDATE "19-Jul-2026 02:44:25 +0200" RFC822.SIZE 0 UID 206)
* 4 FETCH (FLAGS ( ) INTERNALDATE "" RFC822.SIZE 123456789 UID 4294967295)
`,
	"hMailServer": `* 1 FETCH (UID 101 RFC822.SIZE 1001 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 +0200")
* 2 FETCH (UID 205 RFC822.SIZE 2 FLAGS (\Seen) INTERNALDATE "18-Jul-2026 02:44:25 +0200")
* 3 FETCH (UID 206 RFC822.SIZE 0 FLAGS (\Deleted) INTERNALDATE "19-Jul-2026 02:44:25 +0200")
* 4 FETCH (UID 4294967295 RFC822.SIZE 123456789 FLAGS () INTERNALDATE "01-Jan-0001 00:00:00 +0000")
`,
	"Mailutils": `* 1 FETCH (UID 101 RFC822.SIZE 1001 INTERNALDATE "17-Jul-2026 02:44:25 +0000" FLAGS (\Recent))
* 2 FETCH (UID 205 RFC822.SIZE 2 INTERNALDATE "18-Jul-2026 02:44:25 +0000" FLAGS (\Seen \Recent))
* 3 FETCH (UID 206 RFC822.SIZE 0 INTERNALDATE "19-Jul-2026 02:44:25 +0000" FLAGS (\Deleted))
* 4 FETCH (UID 4294967295 RFC822.SIZE 123456789 INTERNALDATE "09-Jul-2026 02:44:25 +0000" FLAGS NIL)
`,
	"Coremail": `* 1 FETCH (INTERNALDATE "17-Jul-2026 02:44:25 +0800" FLAGS () RFC822.SIZE 1001 UID 101)
* 2 FETCH (INTERNALDATE "18-Jul-2026 02:44:25 +0800" FLAGS (\Seen) RFC822.SIZE 2 UID 205)
* 3 FETCH (INTERNALDATE "19-Jul-2026 02:44:25 +0800" FLAGS (\Deleted) RFC822.SIZE 0 UID 206)
* 4 FETCH (INTERNALDATE " 9-Jul-2026 02:44:25 +0800" FLAGS () RFC822.SIZE 123456789 UID 4294967295)
`,
	"Yahoo": `* 1 FETCH (FLAGS ($NotJunk)  RFC822.SIZE 1001 UID 101 INTERNALDATE "17-Jul-2026 02:44:25 +0000" )
* 2 FETCH (FLAGS (\Seen $NotJunk)  RFC822.SIZE 2 UID 205 INTERNALDATE "18-Jul-2026 02:44:25 +0000" )
* 3 FETCH (FLAGS (\Deleted)  RFC822.SIZE 0 UID 206 INTERNALDATE "19-Jul-2026 02:44:25 +0000" )
* 4 FETCH (FLAGS ()  RFC822.SIZE 123456789 UID 4294967295 INTERNALDATE "09-Jul-2026 02:44:25 +0000" )
`,
	"DavMail": `* 1 FETCH (UID 101 FLAGS () INTERNALDATE "17-Jul-2026 02:44:25 +0000" RFC822.SIZE 1001)
* 2 FETCH (UID 205 FLAGS (\Seen Follow_up! Red Category) INTERNALDATE "18-Jul-2026 02:44:25 +0000" RFC822.SIZE 2)
* 3 FETCH (UID 206 FLAGS (\Deleted) INTERNALDATE "19-Jul-2026 02:44:25 +0000" RFC822.SIZE 0)
* 4 FETCH (UID 4294967295 FLAGS (Catégorie) INTERNALDATE "null" RFC822.SIZE 123456789)
`,
	"Zimbra": `* 1 FETCH (UID 101 FLAGS (\Recent) INTERNALDATE "17-Jul-2026 02:44:25 +0200" RFC822.SIZE 1001 MODSEQ (7))
* 2 FETCH (UID 205 FLAGS (\Seen $Forwarded) INTERNALDATE "18-Jul-2026 02:44:25 +0200" RFC822.SIZE 2 MODSEQ (8))
* 3 FETCH (UID 206 FLAGS (\Deleted) INTERNALDATE "19-Jul-2026 02:44:25 +0200" RFC822.SIZE 0 MODSEQ (9))
* 4 FETCH (UID 4294967295 FLAGS () INTERNALDATE " 9-Jul-2026 02:44:25 +0200" RFC822.SIZE 123456789 MODSEQ (10))
`,
}

// mended is what the library is given for each message, but for the date.
var mended = []string{
	`UID 101 FLAGS () RFC822.SIZE 1001`,
	`UID 205 FLAGS (\Seen) RFC822.SIZE 2`,
	`UID 206 FLAGS (\Deleted) RFC822.SIZE 0`,
	`UID 4294967295 FLAGS () RFC822.SIZE 123456789`,
}

func mendList4(said string) (string, error) {
	var w wire
	w.listing.Store(listingOnly)
	w.follow([]byte(strings.ReplaceAll(strings.ReplaceAll(said, "\r\n", "\n"), "\n", "\r\n")))
	return w.out.String(), w.failed
}

// TestAnswers: the lists of many servers are read.
func TestAnswers(t *testing.T) {
	for server, said := range answers {
		t.Run(server, func(t *testing.T) {
			got, err := mendList4(said)
			if lines := strings.Count(got, "\r\n"); err != nil || lines != 4 {
				t.Fatalf("%d lines are made (%v): %s", lines, err, got)
			}
			for _, want := range mended {
				if !strings.Contains(got, want) {
					t.Errorf("%s is missing in %s", want, got)
				}
			}
		})
	}
}

// TestContentAnswers: what the library is given of an answer with content.
func TestContentAnswers(t *testing.T) {
	for said, want := range map[string]string{
		"* 1 FETCH (UID 7 BODY[]<0> {3}\r\nabc)":                    "* 1 FETCH (UID 7 BODY[]<0> {3}\r\nabc)\r\n",
		"* 1 FETCH (BODY[]<0> {3}\r\nabc UID 7 FLAGS (\\Seen))":     "* 1 FETCH (UID 7 FLAGS (\\Seen) BODY[]<0> {3}\r\nabc)\r\n",
		"* 1 FETCH (UID 7 BODY[]<0> {3}\r\nabc FLAGS (\\Seen x]y))": "* 1 FETCH (UID 7 BODY[]<0> {3}\r\nabc FLAGS (\\Seen))\r\n",
		`* 1 FETCH (UID 7 BODY[]<0> "a\"b")`:                        "* 1 FETCH (UID 7 BODY[]<0> {3}\r\na\"b)\r\n",
		"* 1 FETCH (UID 7 BODY[]<5> NIL)":                           "* 1 FETCH (UID 7 BODY[]<5> NIL)\r\n",
		"* 1 FETCH (UID 7 BODY[])":                                  "* 1 FETCH (UID 7 BODY[] NIL)\r\n",
		"* 1 FETCH (body[] ~{2+}\r\n\x00\n uid 7)":                  "* 1 FETCH (UID 7 BODY[] {2}\r\n\x00\n)\r\n",
		"* 1 FETCH (UID 7 FLAGS (\\Seen))":                          "",
		"* 1 FETCH (FLAGS (\\Seen))":                                "",
		"* 1 FETCH (BODY[] {3}\r\nabc)":                             "",
		"* 1 EXPUNGED":                                              "",
	} {
		var w wire
		w.follow([]byte(said + "\r\n"))
		if got := w.out.String(); got != want || w.failed != nil {
			t.Errorf("of %q is made %q (%v), not %q", said, got, w.failed, want)
		}
	}
	for _, said := range []string{"* 1 FETCH (UID 7 BODY[] what)", "* 1 FETCH (UID 7 BODY[] {3}\r\nabcdef)", "* 1 FETCH (UID 7 BODY[] {3}\r\nabc\r\n", "* 1 FETCH (UID 7 BODY[] \"a"} {
		var w wire
		w.follow([]byte(said + "\r\n"))
		if w.failed == nil {
			t.Errorf("%q does not end the connection; of it is made %q", said, w.out.String())
		}
	}
}

// readable is what the library reads without fail.
var readable = regexp.MustCompile(`^(\* \d+ FETCH \(UID \d+( FLAGS \((\\Seen)? ?(\\Deleted)?\))?( RFC822\.SIZE \d+)?( INTERNALDATE "[ \d]\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [-+]\d{4}")?\)|\* \d+ (EXISTS|EXPUNGE)|[*T]\S* (OK|NO|BAD|BYE|PREAUTH)( .*)?|\* E?SEARCH.*|\* CAPABILITY.*|\* LIST \(.*)$`)

// FuzzList changes something in the answer about one message, that is not its UID and no literal:
// the others are listed as they were, and the library can read it all.
func FuzzList(f *testing.F) {
	servers := slices.Sorted(maps.Keys(answers))
	for n := range servers {
		server := uint8(n)
		f.Add(server, uint8(1), uint16(20), uint8(3), []byte(`"`))
		f.Add(server, uint8(2), uint16(0), uint8(200), []byte(`* 3 FETCH (`))
		f.Add(server, uint8(3), uint16(50), uint8(0), []byte("\r\n)"))
	}
	f.Add(uint8(0), uint8(0), uint16(21), uint8(1), []byte(` "a) (b`))
	f.Fuzz(func(t *testing.T, server, line uint8, at uint16, length uint8, change []byte) {
		lines := strings.SplitAfter(answers[servers[int(server)%len(servers)]], "\n")
		n := int(line) % 4
		one := lines[n]
		begin := min(int(at), len(one))
		end := min(begin+int(length), len(one))
		lines[n] = one[:begin] + string(change) + one[end:]
		named := namesUID.FindAllString(lines[n], -1)
		if literalAnywhere.MatchString(lines[n]) || isTagged.MatchString(lines[n]) || len(named) != 1 || named[0] != namesUID.FindString(one) {
			return
		}
		if end == len(one) { // the line's end is gone: the next message's answer is changed, too
			lines[n] += "\n"
		}
		got, err := mendList4(strings.Join(lines, ""))
		if err != nil {
			t.Fatalf("%v", err)
		}
		for i, want := range mended {
			if i != n && !strings.Contains(got, want) {
				t.Errorf("%s is missing in %q of %q", want, got, lines[n])
			}
		}
		for _, made := range strings.Split(strings.TrimSuffix(got, "\r\n"), "\r\n") {
			if !readable.MatchString(made) {
				t.Errorf("the library is given %q of %q", made, lines[n])
			}
		}
	})
}

var (
	literalAnywhere = regexp.MustCompile(`\{\d+\+?\}\r?\n`)
	namesUID        = regexp.MustCompile(`(?i)UID\s*\d*`)
	isTagged        = regexp.MustCompile(`(?m)^T\d`)
)

// FuzzMend: whatever a server sends in a line, the library either reads what is made of it, or it is
// no response. What stands behind an LF is a literal at the line's end.
func FuzzMend(f *testing.F) {
	for _, said := range []string{
		"* OK [PERMANENTFLAGS (a]b)] x", "* LIST (\\HasNoChildren \\Trash) \"/\" \"a\\\"b\"", "* LIST () NIL &AOQ-&AOQ-", "* 5 EXISTS",
		"* SEARCH 1 2  3 (MODSEQ 5)", "* CAPABILITY IMAP4rev1  AUTH=PLAIN [x]", "*CAPABILITY 0%000 00", "T1 OK [COPYUID 5 1:3 4,5,6] x", "T1 NO [LIMIT", "* BYE", "* 1 FETCH (UID 1 BODY[] \"a\\\"b\")",
		"* STATUS x (MESSAGES 5)", "* LIST (a b) \"\\\" x y", "* OK [UIDNEXT 0] ", "* ESEARCH (TAG \"T1\") UID ALL 1:3",
		"*LIST()\"\xa7\"0", "* OK a\rb", "0\r", "a\rb\r", "* LIST (a]) \"/\" \na\xff", "* LIST () \"/\" \na\"b", "* LIST () \na",
	} {
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, line string) {
		line, literal, announced := strings.Cut(line, "\n")
		if announced && status.MatchString(line) {
			return // it has none: what follows is a line
		} else if announced {
			line += fmt.Sprintf("{%d}\r\n%s", len(literal), literal)
		}
		var w wire
		w.follow([]byte(line + "\r\n"))
		made := w.out.String()
		if w.failed != nil || w.literal > 0 || !strings.HasPrefix(line, "*") && made == strings.ReplaceAll(strings.TrimRight(line, "\r"), "\r", " ")+"\r\n" || strings.HasPrefix(made, "T") || strings.HasPrefix(made, "* ESEARCH") {
			return
		}
		if err := libraryReads(made); err != nil {
			t.Errorf("of %q is made %q: %v", line, made, err)
		}
	})
}

// libraryReads has the library read responses behind a greeting.
func libraryReads(responses string) error {
	conn := &script{in: strings.NewReader("* OK [CAPABILITY IMAP4rev1] ready\r\n" + responses)}
	client := imapclient.New(conn, &imapclient.Options{})
	<-client.Closed()
	return client.Close()
}

// script is a connection on which a server says something and then ends it.
type script struct {
	net.Conn
	in *strings.Reader
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) Close() error                     { return nil }
