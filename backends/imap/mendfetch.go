package imap

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// fetchResponse is a FETCH response on its way to the library (RFC 9051 §7.5.2), which is given it in
// one order, UID first, with the items that somebody here asks for, in the form that it reads. The
// response's text is read by the grammar. Where it does not keep to that, its UID, size and flags are
// looked for by name: what else is odd costs no more than itself.
type fetchResponse struct {
	number  string
	text    strings.Builder // without the contents that came as literals
	begun   bool            // the library has the beginning already
	content bool            // a literal with content has come
	cut     bool            // some of the text was too much and is missing
	parts   int             // of the text, between literals
	body    int             // index of the body that a literal is kept for
	items   fetchItems
}

// fetchItems are what is understood of a response.
type fetchItems struct {
	uid           uint32
	size          int64 // -1: not told, or not as a number
	date          time.Time
	flags         bool // they were told
	seen, deleted bool
	bodies        []fetchBody
}

type fetchBody struct {
	section string // in the library's form, with its origin
	octets  []byte
	null    bool
}

// keptMost is the largest literal that is kept until the response's UID is known. What is asked for is
// smaller.
const keptMost = 1 << 20

// partsMost is how many literals one response may have.
const partsMost = 100

var isFetch = lazyregexp.New(`^(?i)\* *(\d*) *FETCH\b *(.*)\r?\n?$`)

func newFetch(number string) *fetchResponse {
	if n, err := strconv.ParseUint(number, 10, 32); err != nil || n == 0 {
		number = "1" // nobody looks at it: messages are asked for by UID
	}
	return &fetchResponse{number: number, items: fetchItems{size: -1}}
}

func (f *fetchResponse) keep(octets []byte) {
	b := &f.items.bodies[f.body]
	b.octets = append(b.octets, octets...)
}

// fetchLine takes the next text of a FETCH response, up to its end or to a literal.
func (w *wire) fetchLine(line string, literal int64, announced bool) {
	f := w.fetch
	f.parts++
	if f.cut = f.cut || w.cut || f.parts > partsMost || f.text.Len() > lineMost; !f.cut {
		f.text.WriteString(strings.TrimRight(line, "\r\n"))
	}
	if !announced {
		w.fetch = nil
		w.endFetch(f)
		return
	}
	w.literal, w.literalTo = literal, dropped
	if f.cut {
		return
	}
	text := f.text.String()
	at := bodyAtEnd.FindStringSubmatchIndex(text)
	if at == nil { // a literal where a keyword or a string could be
		f.text.WriteString(`""`)
		return
	}
	section := canonicalSection(text[at[2]:at[3]], text[at[4]:at[5]])
	f.text.Reset()
	if section == "" {
		f.text.WriteString(text[:at[0]] + " ")
		return
	}
	before := text[:at[0]]
	if items, ok := f.read(before, false); ok {
		f.items.add(items)
	} else {
		w.broken("the server's FETCH response cannot be read: %.200q", before)
		return
	}
	f.content = true
	switch {
	case f.begun:
		w.out.WriteString(" " + section)
	case f.items.uid != 0:
		f.begun = true
		w.out.WriteString("* " + f.number + " FETCH (" + f.items.list() + " " + section)
	case literal > keptMost:
		w.broken("the server sends %d octets without saying of which message", literal)
		return
	default:
		f.body = len(f.items.bodies)
		f.items.bodies = append(f.items.bodies, fetchBody{section: section})
		w.literalTo = kept
		return
	}
	fmt.Fprintf(&w.out, " {%d}\r\n", literal)
	w.literalTo = passed
	f.items = fetchItems{uid: f.items.uid, size: -1}
}

// endFetch gives the library what is still to be said of a response.
func (w *wire) endFetch(f *fetchResponse) {
	listing := w.listing.Load()
	items, ok := f.read(f.text.String(), true)
	if !ok || f.cut {
		if listing == notListing || f.content {
			w.broken("the server's FETCH response cannot be read: %.200q", f.text.String())
		}
		return // its message is missing from the list and asked for again
	}
	f.items.add(items)
	switch {
	case f.begun:
		f.items.uid = 0
		if more := f.items.list(); more != "" {
			w.out.WriteString(" " + more)
		}
		w.out.WriteString(")\r\n")
	case f.items.uid == 0, listing == notListing && len(f.items.bodies) == 0 && f.items.size < 0:
		// News of flags, which the library might take for the answer about a message.
	default:
		w.out.WriteString("* " + f.number + " FETCH (" + f.items.list() + ")\r\n")
	}
}

// broken ends the connection: what comes next may be a message's content as well as an answer.
func (w *wire) broken(format string, arguments ...any) {
	err := fmt.Errorf(format, arguments...)
	w.failed = err
	w.end(err)
}

// read understands a text of the response, up to its end or to content.
func (f *fetchResponse) read(text string, end bool) (fetchItems, bool) {
	first := !f.content && !f.begun
	items, ok := readFetch(text, first, end)
	if ok && (items.uid != 0 || f.items.uid != 0 || !end) {
		return items, true
	}
	// Behind content it may be content, and a string with content is a stranger's text: neither is
	// searched for names.
	if f.content || bodyAnywhere.MatchString(text) {
		return items, ok
	}
	return searchFetch(text), true
}

func (i *fetchItems) add(more fetchItems) {
	if i.uid == 0 {
		i.uid = more.uid
	}
	if more.size >= 0 {
		i.size = more.size
	}
	if !more.date.IsZero() {
		i.date = more.date
	}
	if more.flags {
		i.flags, i.seen, i.deleted = true, more.seen, more.deleted
	}
	i.bodies = append(i.bodies, more.bodies...)
}

// list writes the items in the library's form, without parentheses.
func (i *fetchItems) list() string {
	var all []string
	if i.uid != 0 {
		all = append(all, fmt.Sprintf("UID %d", i.uid))
	}
	if i.flags {
		var flags []string
		if i.seen {
			flags = append(flags, `\Seen`)
		}
		if i.deleted {
			flags = append(flags, `\Deleted`)
		}
		all = append(all, "FLAGS ("+strings.Join(flags, " ")+")")
	}
	if i.size >= 0 {
		all = append(all, fmt.Sprintf("RFC822.SIZE %d", i.size))
	}
	if !i.date.IsZero() {
		all = append(all, i.date.Format(`INTERNALDATE "_2-Jan-2006 15:04:05 -0700"`))
	}
	for _, b := range i.bodies {
		if b.null {
			all = append(all, b.section+" NIL")
		} else {
			all = append(all, fmt.Sprintf("%s {%d}\r\n%s", b.section, len(b.octets), b.octets))
		}
	}
	return strings.Join(all, " ")
}

var (
	bodyAnywhere = lazyregexp.New(`(?i)BODY(?:\.PEEK)? *\[`)
	bodyAtEnd    = lazyregexp.New(`(?i)BODY(?:\.PEEK)? *\[([^\]]*)\] *((?:<\d*(?:\.\d*)?>)?) *$`)
	originLength = lazyregexp.New(`\.\d*>$`) // QUIRK: some repeat the whole of what was asked for
	plainSection = lazyregexp.New(`^[0-9A-Z.]*$`)
	fieldName    = lazyregexp.New(`[!#-'*+\-./0-9A-Z^_|~]+`)
)

// canonicalSection is "BODY[section]<origin>" in the library's form; empty: it has none.
func canonicalSection(section, origin string) string {
	section = strings.ToUpper(strings.TrimSpace(section))
	if fields, found := strings.CutPrefix(section, "HEADER.FIELDS"); found {
		section = "HEADER.FIELDS (" + strings.Join(fieldName.FindAllString(fields, -1), " ") + ")"
	} else if !plainSection.MatchString(section) {
		return ""
	}
	if origin = originLength.ReplaceAllString(origin, ">"); origin == "<>" {
		origin = ""
	}
	return "BODY[" + section + "]" + origin
}

// dateOf reads an INTERNALDATE; zero: it is none. Dates before mail are none, either.
func dateOf(text string) time.Time {
	date, err := time.Parse("_2-Jan-2006 15:04:05 -0700", strings.TrimSpace(text))
	if err != nil || date.Year() < 1970 || date.Year() > 9998 {
		return time.Time{}
	}
	return date
}

func uidOf(text string) uint32 {
	n, _ := strconv.ParseUint(text, 10, 32)
	return uint32(n)
}

func (i *fetchItems) flagsOf(list string) {
	words := strings.FieldsFunc(strings.ToLower(list), func(r rune) bool { return r == ' ' || r == '(' || r == ')' })
	i.flags, i.seen, i.deleted = true, slices.Contains(words, `\seen`), slices.Contains(words, `\deleted`)
}

var (
	namedUID   = lazyregexp.New(`(?i)(?:^|[\s()"])UID\s*(\d{1,10})\b`)
	namedSize  = lazyregexp.New(`(?i)(?:^|[\s()"])RFC822\.SIZE\s*"?(\d{1,18})(?:["\s()]|$)`)
	namedFlags = lazyregexp.New(`(?i)(?:^|[\s()"])FLAGS\s*(\(.*|NIL)`)
	namedDate  = lazyregexp.New(`(?i)(?:^|[\s()"])INTERNALDATE\s*"([^"]{1,40})"`)
)

// searchFetch looks for what is needed by its name. A value that is told twice, and not the same, is
// not known.
func searchFetch(text string) fetchItems {
	items := fetchItems{size: -1, uid: uidOf(only(namedUID, text))}
	if size, err := strconv.ParseInt(only(namedSize, text), 10, 64); err == nil {
		items.size = size
	}
	if found := namedFlags.FindStringSubmatch(text); found != nil {
		items.flagsOf(found[1])
	}
	items.date = dateOf(only(namedDate, text))
	return items
}

func only(pattern *lazyregexp.Regexp, text string) string {
	value := ""
	for _, found := range pattern.FindAllStringSubmatch(text, -1) {
		if value != "" && value != found[1] {
			return ""
		}
		value = found[1]
	}
	return value
}
