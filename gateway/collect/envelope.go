package collect

import (
	"bytes"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/header"
)

// headerWithin is how much of a message's beginning is looked at for what its header says, in octets.
const headerWithin = 256 << 10

// recipientsMost bounds whom one message is for.
const recipientsMost = 100

// envelope is what a header says of the envelope that a message came in.
type envelope struct {
	from string   // the reverse-path; empty: none
	to   []string // the mailboxes here
	by   string   // the field that has named them
	// trace counts what this account has written into the message before, and received the servers that it has passed.
	trace, received int
}

// traceField says which account a message was collected by. One that comes back has it already.
const traceField = "X-Dipylon-Collected"

// readEnvelope reads a message's beginning. accepts says whether a domain is one of here; mark is what this account's trace says.
func readEnvelope(start []byte, headers []string, mark string, accepts func(domain string) bool) (e envelope) {
	found := make(map[string][]string) // by field, those of the first one of its name that names anybody here
	path := false
	for len(start) > 0 {
		field, rest := header.CutField(start)
		start = rest
		if len(bytes.TrimSpace(field)) == 0 {
			break
		}
		name, ok := header.FieldName(field)
		if !ok {
			continue
		}
		f := header.Field{Name: name, Raw: field}
		key := fold.Lower(name)
		switch key {
		case "return-path":
			if !path {
				e.from, path = reversePath(f.Value()), true
			}
		case "received":
			e.received++
		case fold.Lower(traceField):
			if f.Value() == mark {
				e.trace++
			}
		}
		if len(found[key]) > 0 || !slices.ContainsFunc(headers, f.Is) {
			continue
		}
		found[key] = here(key, f.Value(), accepts)
	}
	for _, name := range headers {
		if to := found[fold.Lower(name)]; len(to) > 0 {
			e.to, e.by = to, name
			break
		}
	}
	return e
}

// reversePath reads the value of Return-Path (RFC 5322 §3.6.7). What is none is the null one: nobody is to be answered then.
func reversePath(value string) string {
	if !strings.HasPrefix(value, "<") {
		value = "<" + value + ">"
	}
	path, rest, err := address.ParsePath(value)
	if err != nil || strings.TrimSpace(rest) != "" || path.IsNull() || path.IsPostmaster() {
		return ""
	}
	return path.Mailbox().String()
}

// here are the mailboxes of here that a field names, each once.
func here(key, value string, accepts func(domain string) bool) (to []string) {
	var texts []string
	if key == "received" {
		texts = forClause(value)
	} else {
		for _, a := range entity.ParseAddresses(value) {
			texts = append(texts, a.Address)
		}
	}
	for _, text := range texts {
		box, err := address.Parse(strings.Trim(text, "<>"))
		if err != nil || !accepts(box.Domain) || slices.Contains(to, box.String()) {
			continue
		}
		to = append(to, box.String())
	}
	return to
}

// forClause is whom a Received field says that the message is for (RFC 5321 §4.4).
func forClause(value string) []string {
	words := strings.Fields(withoutComments(value))
	for i, word := range words[:max(len(words)-1, 0)] {
		if strings.EqualFold(word, "for") {
			return []string{strings.TrimRight(words[i+1], ";,")}
		}
	}
	return nil
}

// withoutComments takes comments out (RFC 5322 §3.2.2), and puts a blank in their places.
func withoutComments(value string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && (depth > 0 || quoted) && i+1 < len(value):
			if i++; depth == 0 {
				b.WriteByte(c)
				b.WriteByte(value[i])
			}
			continue
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted:
			depth++
			continue
		case c == ')' && depth > 0:
			if depth--; depth == 0 {
				b.WriteByte(' ')
			}
			continue
		}
		if depth == 0 {
			b.WriteByte(c)
		}
	}
	return b.String()
}
