package attention

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"
)

// Letter is the mail of a day about what needs attention.
type Letter struct {
	Hostname string // of the gateway that writes it
	From, To string // addresses
	// Key makes the Message-ID.
	Key      string
	Date     time.Time
	Concerns []Concern // the worst first; at least one
}

// listedMost is how many concerns a letter names.
const listedMost = 100

// headings stand in front of the concerns of a severity.
var headings = map[Severity]string{
	Critical: "Mail is stopped, or about to be",
	Warning:  "To be done within days",
	Notice:   "To be done within weeks",
}

// Bytes is the letter as it is sent: RFC 5322, with CRLF line ends, in ASCII alone.
func (l Letter) Bytes() []byte {
	var out bytes.Buffer
	field := func(name, value string) { out.WriteString(name + ": " + value + "\r\n") }
	field("Date", l.Date.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	field("From", "Dipylon <"+l.From+">")
	field("To", "<"+l.To+">")
	field("Subject", mime.QEncoding.Encode("utf-8", l.subject()))
	field("Message-ID", "<"+l.Key+"@"+l.Hostname+">")
	field("Auto-Submitted", "auto-generated") // RFC 3834 §5
	field("MIME-Version", "1.0")
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "quoted-printable")
	out.WriteString("\r\n")
	encoded := quotedprintable.NewWriter(&out)
	_, _ = encoded.Write([]byte(strings.ReplaceAll(l.text(), "\n", "\r\n"))) // a bytes.Buffer takes all
	_ = encoded.Close()
	return out.Bytes()
}

func (l Letter) subject() string {
	first := l.Concerns[0]
	what := "1 thing needs"
	if n := len(l.Concerns); n > 1 {
		what = fmt.Sprint(n, " things need")
	}
	subject := l.Hostname + ": " + what + " attention"
	if first.Severity == Critical {
		subject += ", mail may stop"
	}
	return subject
}

// text is what the letter says, with LF line ends.
func (l Letter) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "The mail gateway %s asks for your attention.\n", l.Hostname)
	for _, severity := range Severities {
		heading := false
		for i, c := range l.Concerns {
			if c.Severity != severity || i >= listedMost {
				continue
			}
			if !heading {
				fmt.Fprintf(&out, "\n%s\n%s\n", headings[severity], strings.Repeat("-", len(headings[severity])))
				heading = true
			}
			out.WriteString("\n" + wrap("* ", "  ", upper(ended(c.Sentence(l.Date)))))
			if c.Advice != "" {
				out.WriteString(wrap("  What to do: ", "  ", ended(c.Advice)))
			}
			if c.Until.IsZero() {
				out.WriteString("  Since " + c.Since.UTC().Format(time.DateTime) + " UTC.\n")
			}
		}
	}
	if more := len(l.Concerns) - listedMost; more > 0 {
		fmt.Fprintf(&out, "\nand %d more.\n", more)
	}
	out.WriteString("\n" + wrap("", "", `"dipylon status" on the gateway shows this list as it is now. This mail comes once a day, as long as there is something in it. Nobody reads answers to it.`))
	return out.String()
}

// upper begins a sentence.
func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// ended has a sentence end with one full stop.
func ended(s string) string { return strings.TrimRight(s, ". ") + "." }

// columns is how wide a letter's lines are, where words let them.
const columns = 76

// wrap breaks a paragraph into lines.
func wrap(first, others, text string) string {
	lines := []string{strings.TrimSuffix(first, " ")}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		if len(*last)+1+len(word) > columns && strings.TrimSpace(*last) != "" {
			lines = append(lines, others+word)
			continue
		}
		if *last != "" {
			*last += " "
		}
		*last += word
	}
	return strings.Join(lines, "\n") + "\n"
}

// Settled are the concerns that a letter is worth: those with an end, and those that have lasted for a while.
func Settled(all []Concern, now time.Time) []Concern {
	return slices.DeleteFunc(slices.Clone(all), func(c Concern) bool { return c.Until.IsZero() && now.Sub(c.Since) < settledAfter })
}

// settledAfter is how long something lasts that has no end before a mail is written about it: a store that starts
// again is nothing to write about.
const settledAfter = 10 * time.Minute
