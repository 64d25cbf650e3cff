package fakeimap

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// session is one connection.
type session struct {
	*Server
	selected bool
}

// right answers a command as it should be.
func (s *session) right(tag, command string, literals []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	verb, rest, _ := strings.Cut(command, " ")
	verb = strings.ToUpper(verb)
	if verb == "UID" {
		second, arguments, _ := strings.Cut(rest, " ")
		verb, rest = verb+" "+strings.ToUpper(second), arguments
	}
	done := tag + " OK " + strings.ToLower(verb) + " is done\r\n"
	switch verb {
	case "CAPABILITY":
		return "* CAPABILITY " + s.Caps + "\r\n" + done
	case "ID":
		return `* ID ("name" "fake")` + "\r\n" + done
	case "SELECT", "EXAMINE":
		s.selected = true
		return s.selectAnswer() + done
	case "UNSELECT", "CLOSE":
		s.selected = false
	case "STATUS":
		return fmt.Sprintf("* STATUS \"INBOX\" (MESSAGES %d)\r\n%s", len(s.Messages), done)
	case "LIST":
		if strings.Contains(rest, "*") {
			return "* LIST (\\Trash) \"/\" Gone\r\n* LIST (\\Sent) \"/\" Sent\r\n" + done
		}
		return "* LIST (\\Noselect) \".\" \"\"\r\n" + done
	case "APPEND":
		if len(literals) > 0 {
			s.appended = append(s.appended, literals[len(literals)-1])
		}
	case "LOGOUT":
		return "* BYE\r\n" + done
	case "UID FETCH", "UID SEARCH", "UID STORE", "UID EXPUNGE", "UID MOVE", "UID COPY", "EXPUNGE":
		if !s.selected {
			return tag + " BAD no mailbox is selected\r\n"
		}
		return s.onMailbox(verb, rest, tag, done)
	}
	return done
}

func (s *session) selectAnswer() string {
	validity := ""
	if s.Validity != "-" {
		validity = "* OK [UIDVALIDITY " + s.Validity + "] the same as ever\r\n"
	}
	return fmt.Sprintf("* %d EXISTS\r\n%s", len(s.Messages), validity)
}

func (s *session) onMailbox(verb, rest, tag, done string) string {
	set, arguments, _ := strings.Cut(rest, " ")
	switch verb {
	case "UID FETCH":
		return s.fetch(set, arguments, tag, done)
	case "UID SEARCH":
		return s.search(rest) + done
	case "UID STORE":
		for _, m := range s.changed(set) {
			if strings.Contains(arguments, `\Deleted`) {
				s.deleted[m.UID] = strings.HasPrefix(arguments, "+")
			}
		}
		return done
	case "UID MOVE":
		in := s.changed(set)
		return s.expunge(func(m Message) bool {
			return slices.ContainsFunc(in, func(o Message) bool { return o.UID == m.UID })
		}) + done
	case "UID EXPUNGE":
		in := s.in(set)
		return s.expunge(func(m Message) bool {
			return s.deleted[m.UID] && slices.ContainsFunc(in, func(o Message) bool { return o.UID == m.UID })
		}) + done
	case "EXPUNGE":
		return s.expunge(func(m Message) bool { return s.deleted[m.UID] }) + done
	}
	return done // UID COPY
}

func (s *session) expunge(gone func(Message) bool) string {
	var b strings.Builder
	var left []Message
	for _, m := range s.Messages {
		if gone(m) {
			fmt.Fprintf(&b, "* %d EXPUNGE\r\n", len(left)+1)
			continue
		}
		left = append(left, m)
	}
	s.Messages = left
	return b.String()
}

var (
	searchUID    = regexp.MustCompile(`UID ([\d:*,]+)`)
	searchHeader = regexp.MustCompile(`(?i)HEADER "?([\w-]+)"? "?([^"]*)"?`)
)

func (s *session) search(criteria string) string {
	found := s.Messages
	if by := searchUID.FindStringSubmatch(criteria); by != nil {
		found = s.in(by[1])
	}
	answer := "* SEARCH"
	for _, m := range found {
		if by := searchHeader.FindStringSubmatch(criteria); by != nil && !strings.Contains(m.Content, by[1]+": "+by[2]) {
			continue
		}
		if strings.Contains(criteria, "SEEN") && !strings.Contains(m.Flags, `\Seen`) ||
			strings.Contains(criteria, "DELETED") && !s.deleted[m.UID] && !strings.Contains(m.Flags, `\Deleted`) {
			continue
		}
		answer += " " + strconv.Itoa(m.UID)
	}
	return answer + "\r\n"
}

var number = regexp.MustCompile(`\d+`)

// changed are the messages that a command with a set of UIDs changes.
func (s *session) changed(set string) []Message {
	if !s.GoneIsLast || len(s.Messages) == 0 {
		return s.in(set)
	}
	last := s.Messages[len(s.Messages)-1]
	return s.in(number.ReplaceAllStringFunc(set, func(text string) string {
		n, _ := strconv.Atoi(text)
		return strconv.Itoa(min(n, last.UID))
	}))
}

// in are the messages of a set of UIDs, in the mailbox's order.
func (s *session) in(set string) []Message {
	var found []Message
	largest := 0
	for _, m := range s.Messages {
		largest = max(largest, m.UID)
	}
	number := func(text string) int {
		if text == "*" {
			return largest
		}
		n, _ := strconv.Atoi(text)
		return n
	}
	for _, m := range s.Messages {
		for part := range strings.SplitSeq(set, ",") {
			from, to, isRange := strings.Cut(part, ":")
			if !isRange {
				to = from
			}
			first, last := number(from), number(to)
			if m.UID >= min(first, last) && m.UID <= max(first, last) {
				found = append(found, m)
				break
			}
		}
	}
	return found
}

var section = regexp.MustCompile(`(?i)BODY(?:\.PEEK)?\[([^\]]*)\](?:<(\d+)\.(\d+)>)?`)

func (s *session) fetch(set, wanted, tag, done string) string {
	var b strings.Builder
	for _, m := range s.in(set) {
		items, refused := s.items(m, strings.ToUpper(wanted))
		if refused != "" {
			return b.String() + tag + " " + refused + " that is past the end\r\n"
		}
		n := 1 + slices.IndexFunc(s.Messages, func(o Message) bool { return o.UID == m.UID })
		b.WriteString(m.Prefix)
		if s.Fetch != nil {
			b.WriteString(s.Fetch(n, m, items))
			continue
		}
		fmt.Fprintf(&b, "* %d FETCH (%s)\r\n", n, strings.Join(items, " "))
	}
	return b.String() + done
}

// items are those that were asked for, or the refusal that the whole command gets.
func (s *session) items(m Message, wanted string) (items []string, refused string) {
	add := func(name, told, right string) {
		if told = or(told, right); told != "-" {
			items = append(items, name+" "+told)
		}
	}
	if !s.UIDLast {
		add("UID", "", strconv.Itoa(m.UID))
	}
	if strings.Contains(wanted, "FLAGS") {
		flags := "()"
		if s.deleted[m.UID] {
			flags = `(\Deleted)`
		}
		add("FLAGS", m.Flags, flags)
	}
	if strings.Contains(wanted, "INTERNALDATE") {
		add("INTERNALDATE", m.Date, `"17-Jul-2026 02:44:25 -0700"`)
	}
	if strings.Contains(wanted, "RFC822.SIZE") {
		add("RFC822.SIZE", m.Size, strconv.FormatInt(int64(len(m.Content))+s.SizeOff, 10))
	}
	for _, found := range section.FindAllStringSubmatch(wanted, -1) {
		item, refused := s.content(m, found)
		if refused != "" {
			return nil, refused
		}
		if item != "" {
			items = append(items, item)
		}
	}
	if m.Extra != "" {
		items = append(items, m.Extra)
	}
	if s.UIDLast {
		add("UID", "", strconv.Itoa(m.UID))
	}
	return items, ""
}

// content is a BODY[...] item: the whole message, its header, or fields of that, or a part.
func (s *session) content(m Message, found []string) (item, refused string) {
	name, text := "BODY["+found[1]+"]", m.Content
	if strings.HasPrefix(found[1], "HEADER") {
		text = header(text, found[1])
	}
	body := m.Body
	if found[2] != "" && found[1] == "" && s.Whole != "" {
		name = s.Whole
	} else if found[2] != "" {
		offset, _ := strconv.Atoi(found[2])
		length, _ := strconv.Atoi(found[3])
		if s.PartMost > 0 {
			length = min(length, s.PartMost)
		}
		name += "<" + found[2] + ">"
		if offset >= len(text) && body == "" && (offset > 0 || found[1] == "") {
			body = s.PastEnd
		}
		text = text[min(offset, len(text)):min(offset+length, len(text))]
	}
	switch body {
	case "NO", "BAD":
		return "", body
	case "-":
		return "", ""
	case "":
		return fmt.Sprintf("%s {%d}\r\n%s", name, len(text)+s.LiteralOff, text), ""
	}
	return name + " " + body, ""
}

var fieldNames = regexp.MustCompile(`\(([^)]*)\)`)

// header is a message's header, or the fields of it that are named.
func header(text, section string) string {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	names := fieldNames.FindStringSubmatch(section)
	if names == nil {
		return head + "\r\n\r\n"
	}
	kept := ""
	for line := range strings.SplitSeq(head, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		if slices.Contains(strings.Fields(strings.ReplaceAll(names[1], `"`, "")), strings.ToUpper(name)) {
			kept += line + "\r\n"
		}
	}
	return kept + "\r\n"
}
