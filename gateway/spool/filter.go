package spool

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Filter says which recipients of which messages are meant; its zero value means all.
type Filter struct {
	ID          ID     // of the message
	Key         string // of the message
	Destination string
	Address     string // of the recipient
	// Domain is that of the recipient, in lower-case A-labels; Below has those of the domains below it meant, too.
	Domain string
	Below  bool
	Sender string // of the message, its reverse-path; [NullSender] is the null one
	States []State
}

// NullSender is the null reverse-path in a [Filter].
const NullSender = "<>"

// senderBegins is how the column spool_messages.envelope of a sender's messages begins.
func senderBegins(sender string) string {
	if sender == NullSender {
		sender = ""
	}
	text, _ := json.Marshal(sender) // a text is never refused
	return `{"envelope":{"From":` + string(text) + `,`
}

// likes has text stand for itself in a pattern of LIKE.
var likes = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)

// where is the filter as a condition on spool_recipients, behind other parameters; scanned is in front of
// columns.
func (f Filter) where(scanned string, args ...any) (condition string, all []any) {
	var parts []string
	add := func(part string, value any) {
		args = append(args, value)
		parts = append(parts, strings.ReplaceAll(part, "$?", "$"+strconv.Itoa(len(args))))
	}
	if f.ID != 0 {
		add("message = $?", int64(f.ID))
	}
	if f.Key != "" {
		add("message = (SELECT id FROM spool_messages WHERE key = $?)", f.Key)
	}
	if f.Destination != "" {
		add(scanned+"destination = $?", f.Destination)
	}
	if f.Address != "" {
		add("address = $?", f.Address)
	}
	if f.Domain != "" {
		name := likes.Replace(f.Domain)
		add(`(address LIKE $? ESCAPE '\'`, "%@"+name)
		if f.Below {
			add(`address LIKE $? ESCAPE '\'`, "%."+name)
			parts = append(parts[:len(parts)-2], strings.Join(parts[len(parts)-2:], " OR "))
		}
		parts[len(parts)-1] += ")"
	}
	if f.Sender != "" {
		// One envelope that cannot be read would end a query that looks into JSON.
		begins := senderBegins(f.Sender)
		add("EXISTS (SELECT 1 FROM spool_messages WHERE id = message AND substr(envelope, 1, "+strconv.Itoa(utf8.RuneCountInString(begins))+") = $?)", begins)
	}
	if len(f.States) > 0 {
		numbers := make([]string, len(f.States))
		for i, s := range f.States {
			numbers[i] = strconv.Itoa(int(s))
		}
		parts = append(parts, "state IN ("+strings.Join(numbers, ", ")+")")
	}
	parts = append(parts, "1 = 1")
	return strings.Join(parts, " AND "), args
}

// scanned keeps SQLite from finding pages of a large destination through the index of what is due: it would
// sort all of the destination for each.
func (s *Spool) scanned() string {
	if s.db.Shared() {
		return ""
	}
	return "+"
}
