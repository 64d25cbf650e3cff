package mime

import (
	"io"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// cardOf returns the vCard of a message that is a contact: all of it, or what stands behind a text as a [Writer] writes it. A vCard that
// somebody has attached to a message is a file.
func cardOf(e *entity.Entity) (card, text *entity.Entity) {
	switch {
	case isCard(e) && e.Disposition.Value != "attachment":
		return e, nil
	case e.Is("multipart/mixed") && len(e.Parts) == 2 && e.Parts[0].Is("text/plain") && e.Parts[0].Filename() == "" && isCard(e.Parts[1]):
		return e.Parts[1], e.Parts[0]
	}
	return nil, nil
}

// isCard says whether a part is a vCard. RFC 6350 §10.1, RFC 2425 §5.3 and what was there before.
func isCard(e *entity.Entity) bool {
	return e.Is("text/vcard") || e.Is("text/x-vcard") || e.Is("text/directory") && strings.EqualFold(e.Type.Get("profile"), "vcard")
}

// contact reads a message that is a contact (MS-OXVCARD §2.1.3). It says whether it is one. What of the vCard has no property here leaves
// that as an attachment, too.
func (c *conversion) contact(e *entity.Entity) (is bool, err error) {
	part, text := cardOf(e)
	if part == nil {
		return false, nil
	}
	lines, ok, err := readCard(part)
	if err != nil || !ok {
		return false, err
	}
	m := &mapi.Message{}
	whole, note := setCard(m, lines)
	if text != nil {
		if same, err := isText(text, note); err != nil || !same {
			return false, err
		}
	}
	if !m.Has(mapi.PidTagDisplayName) || text != nil && c.m.Text(mapi.PidTagSubject) != m.Text(mapi.PidTagSubject) {
		return false, nil // mail about something else, with a vCard attached
	}
	if text != nil {
		m.Delete(mapi.PidTagBody)
		c.take(text)
	}
	c.m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Contact"))
	copyTo(&c.m.Properties, &m.Properties)
	if whole {
		c.plays(part, roleCalendar, nil)
		return true, nil
	}
	_, err = c.attach(part)
	return true, err
}

// readCard returns the content lines of one vCard.
func readCard(e *entity.Entity) (lines []calendarProperty, is bool, err error) {
	page, err := e.TextPage()
	if err != nil {
		return nil, false, err
	}
	if page.Number == codepage.ASCII {
		page = utf8Page
	}
	octets, err := io.ReadAll(io.LimitReader(e.DecodedText(page), calendarMost+1))
	if err != nil || len(octets) > calendarMost {
		return nil, false, err
	}
	unfolded := strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "").Replace(withoutNULs(string(octets)))
	for line := range strings.SplitSeq(strings.TrimSpace(unfolded), "\n") {
		p, ok := parseContentLine(strings.TrimSuffix(line, "\r"))
		if !ok {
			return nil, false, nil
		}
		lines = append(lines, p)
	}
	last := len(lines) - 1
	is = last > 1 && isLine(lines[0], "BEGIN") && isLine(lines[last], "END")
	for _, p := range lines[1:max(1, last)] {
		is = is && p.name != "BEGIN" && p.name != "END" && p.parameters["ENCODING"] == "" // several, or of version 2.1
	}
	if !is {
		return nil, false, nil
	}
	return lines[1:last], true, nil
}

func isLine(p calendarProperty, name string) bool {
	return p.name == name && strings.EqualFold(strings.TrimSpace(p.value), "VCARD")
}

// isText says whether a part has a text, but for white space.
func isText(e *entity.Entity, text string) (bool, error) {
	page, err := e.TextPage()
	if err != nil {
		return false, err
	}
	octets, err := io.ReadAll(io.LimitReader(e.DecodedText(page), calendarMost))
	return strings.Join(strings.Fields(string(octets)), " ") == strings.Join(strings.Fields(text), " "), err
}

// cardParts takes a value of several parts apart, RFC 2426 §4: semicolons that are not escaped are between them.
func cardParts(value string) (parts []string) {
	var part strings.Builder
	escaped := false
	for _, r := range value {
		switch {
		case escaped && (r == 'n' || r == 'N'):
			part.WriteString("\r\n")
		case escaped:
			part.WriteRune(r)
		case r == '\\':
			escaped = true
			continue
		case r == ';':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteRune(r)
		}
		escaped = false
	}
	return append(parts, part.String())
}

// cardNames are the properties of the parts of N, MS-OXVCARD §2.1.3.
var cardNames = []mapi.Key{mapi.PidTagSurname, mapi.PidTagGivenName, mapi.PidTagMiddleName, mapi.PidTagDisplayNamePrefix, mapi.PidTagGeneration}

// setCard sets the properties that a vCard says. It says whether that is all of it, and what its note is.
func setCard(m *mapi.Message, lines []calendarProperty) (whole bool, note string) {
	whole = true
	emails := 0
	for _, p := range lines {
		if _, name, grouped := strings.Cut(p.name, "."); grouped {
			p.name = name // RFC 2426 §4: a group
		}
		parts := cardParts(p.value)
		understood := true
		switch p.name {
		case "VERSION", "PRODID", "REV":
		case "FN":
			understood = once(m, mapi.PidTagDisplayName, strings.Join(parts, ";"))
			if name := m.Get(mapi.PidTagDisplayName); name != nil { // an FN may be empty
				m.Set(mapi.PidTagSubject, name)
				m.Set(mapi.PidLidFileUnder, name)
			}
		case "N":
			understood = setParts(m, cardNames, parts)
		case "EMAIL":
			if understood = emails < len(cardAddresses); understood {
				setCardAddress(m, emails, strings.Join(parts, ";"))
				emails++
			}
		case "BDAY":
			born, err := time.Parse("2006-01-02", p.value)
			if err != nil {
				born, err = time.Parse("20060102", p.value)
			}
			if understood = err == nil && !m.Has(mapi.PidTagBirthday); understood {
				m.Set(mapi.PidTagBirthday, mapi.NewTime(born))
			}
		default:
			understood = setCardValue(m, p, parts)
		}
		whole = whole && understood
	}
	return whole, m.Text(mapi.PidTagBody)
}

// once sets a text that was not there before.
func once(m *mapi.Message, key mapi.Key, text string) bool {
	if text == "" {
		return true
	}
	if m.Has(key) {
		return false
	}
	m.Set(key, mapi.String(text))
	return true
}

// setParts sets the properties of parts. More parts than properties are not understood.
func setParts(m *mapi.Message, keys []mapi.Key, parts []string) bool {
	understood := true
	for i, part := range parts {
		if i >= len(keys) || keys[i] == nil {
			understood = understood && part == ""
			continue
		}
		understood = once(m, keys[i], part) && understood
	}
	return understood
}

// setCardValue sets what the tables of vCards have.
func setCardValue(m *mapi.Message, p calendarProperty, parts []string) bool {
	for _, c := range cardTexts {
		if name, types, _ := strings.Cut(c.name, ";TYPE="); name == p.name && hasTypes(p, types) {
			return once(m, c.key, strings.Join(parts, ";"))
		}
	}
	for _, c := range cardLists {
		if name, types, _ := strings.Cut(c.name, ";TYPE="); name == p.name && hasTypes(p, types) {
			return setParts(m, c.keys, parts)
		}
	}
	return false
}

// hasTypes says whether a property is of some types: VOICE is what a number is without a word, and PREF says nothing of it.
func hasTypes(p calendarProperty, types string) bool {
	has := map[string]bool{}
	for name := range strings.SplitSeq(strings.ToUpper(p.parameters["TYPE"]), ",") {
		has[name] = name != "PREF" && name != "VOICE" && name != ""
	}
	n := 0
	for name := range strings.SplitSeq(types, ",") {
		if name == "VOICE" || name == "" {
			continue
		}
		if !has[name] {
			return false
		}
		n++
	}
	for _, is := range has {
		if is {
			n--
		}
	}
	return n == 0
}

// setCardAddress sets a mail address, MS-OXOCNTC §2.2.1.2.
func setCardAddress(m *mapi.Message, n int, address string) {
	kinds := []mapi.Key{mapi.PidLidEmail1AddressType, mapi.PidLidEmail2AddressType, mapi.PidLidEmail3AddressType}
	shown := []mapi.Key{mapi.PidLidEmail1DisplayName, mapi.PidLidEmail2DisplayName, mapi.PidLidEmail3DisplayName}
	originals := []mapi.Key{mapi.PidLidEmail1OriginalDisplayName, mapi.PidLidEmail2OriginalDisplayName, mapi.PidLidEmail3OriginalDisplayName}
	m.Set(kinds[n], mapi.String(mapi.AddressSMTP))
	for _, key := range []mapi.Key{cardAddresses[n], shown[n], originals[n]} {
		m.Set(key, mapi.String(address))
	}
}
