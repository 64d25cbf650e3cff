package maildir

import (
	"strings"

	"github.com/dipylon/dipylon/backends"
	mail "github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/pickup"
)

// recipientsMost is how many recipients one outgoing message may have: as many as the contract lets through.
const recipientsMost = 10_000

// noRecipients stands for recipients that nobody has named, as those of package pickup do for others.
const noRecipients = "no-recipients-given@outbox.invalid"

// addressList are the addresses of a message, each once.
type addressList struct {
	domain string // of those that have none
	all    []backends.Recipient
	seen   map[string]bool
}

// add adds an address; one that cannot be read is told as that.
func (l *addressList) add(text string) {
	if !strings.Contains(text, "@") {
		text += "@" + l.domain
	}
	to := pickup.NotAnAddress
	if box, err := mail.Parse(text); err == nil {
		to = box.String()
	}
	l.put(backends.Recipient{Address: to})
}

func (l *addressList) put(r backends.Recipient) {
	if l.seen == nil {
		l.seen = make(map[string]bool)
	}
	if !l.seen[r.Address] {
		l.seen[r.Address] = true
		l.all = append(l.all, r)
	}
}

// recipients are all of them, as the gateway gets them: at least one, and no more than it takes.
func (l *addressList) recipients() []backends.Recipient {
	switch {
	case len(l.all) == 0:
		return backends.To(noRecipients)
	case len(l.all) > recipientsMost:
		return backends.To(pickup.TooManyRecipients)
	}
	return l.all
}

// recipientFields are whom a message is for by its header: To, Cc and Bcc (RFC 5322 §3.6.3), or, of one that somebody
// has resent, the fields of the resending that came last, which stand first (§3.6.6).
func recipientFields(h *header.Header) (found []header.Field) {
	fields, prefix := h.Fields, ""
	for i, f := range h.Fields {
		if !isResent(f) {
			continue
		}
		end := i
		for end < len(h.Fields) && isResent(h.Fields[end]) {
			end++
		}
		fields, prefix = h.Fields[i:end], "Resent-"
		break
	}
	for _, f := range fields {
		if f.Is(prefix+"To") || f.Is(prefix+"Cc") || f.Is(prefix+"Bcc") {
			found = append(found, f)
		}
	}
	if len(found) == 0 && prefix != "" { // resent, it says, but not to whom
		for _, f := range h.Fields {
			if f.Is("To") || f.Is("Cc") || f.Is("Bcc") {
				found = append(found, f)
			}
		}
	}
	return found
}

func isResent(f header.Field) bool {
	return len(f.Name) > len("Resent-") && strings.EqualFold(f.Name[:len("Resent-")], "Resent-")
}

// splitAddresses reads a list of addresses as far as it can be read (RFC 5322 §3.4): names, comments and the names of
// groups fall away. One pass, and what stands between two commas is one address or none.
func splitAddresses(value string) (found []string) {
	var plain, angle strings.Builder
	var s addressScan
	end := func() {
		text := plain.String()
		if s.bracketed {
			text = angle.String()
		}
		if text = strings.TrimSpace(text); text != "" {
			found = append(found, text)
		}
		plain.Reset()
		angle.Reset()
		s.bracketed = false
	}
	for i := 0; i < len(value); i++ {
		switch what := s.next(value, &i); what {
		case ends:
			end()
		case groupName:
			plain.Reset()
		case inAngle:
			angle.WriteString(s.piece)
		case inPlain:
			plain.WriteString(s.piece)
		case nothing:
		}
	}
	end()
	return found
}

// addressScan is where in a list of addresses a scan is.
type addressScan struct {
	quoted, angle, literal bool
	depth                  int  // of comments
	bracketed              bool // the address was in angle brackets
	piece                  string
}

// What an octet of a list is.
const (
	nothing = iota
	inPlain
	inAngle
	ends
	groupName
)

// next says what the octet at i is, or the pair that a backslash makes.
func (s *addressScan) next(value string, i *int) int {
	start := *i
	c := value[*i]
	if c == '\\' && (s.quoted || s.depth > 0) && *i+1 < len(value) {
		*i++
	}
	s.piece = value[start : *i+1]
	switch {
	case s.depth > 0:
		if c == '(' {
			s.depth++
		} else if c == ')' {
			s.depth--
		}
		return nothing
	case c == '"':
		s.quoted = !s.quoted
	case s.quoted:
	case c == '(':
		s.depth++
		return nothing
	case c == '[' || c == ']':
		s.literal = c == '['
	case s.literal:
	case c == '<':
		s.angle, s.bracketed = true, true
		return nothing
	case c == '>':
		s.angle = false
		return nothing
	case c == ',' && !s.angle || c == ';':
		return ends
	case c == ':' && !s.angle:
		return groupName
	}
	if s.angle {
		return inAngle
	}
	return inPlain
}
