package mime

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
)

// mapped are the fields that have properties of their own: how they are set, nil where something else sets them
// or the message says it by itself. The first field of a name counts. MS-OXCMAIL §2.2.3.1 and §2.2.3.2.
var mapped = map[string]func(*conversion, string){
	"from": nil, "sender": nil, "to": nil, "cc": nil, "bcc": nil, "reply-to": nil, // addresses
	"subject": (*conversion).subject, "thread-topic": nil,
	"date":              (*conversion).date,
	"message-id":        set(mapi.PidTagInternetMessageId), // §2.2.3.2
	"in-reply-to":       set(mapi.PidTagInReplyToId),
	"references":        set(mapi.PidTagInternetReferences),
	"thread-index":      (*conversion).threadIndex, // §2.2.3.2
	"importance":        nil,
	"priority":          nil,
	"x-priority":        nil,
	"x-msmail-priority": nil,
	"sensitivity":       (*conversion).sensitivity, // §2.2.3.2
	"keywords":          nil,
	"reply-by":          setTime(mapi.PidTagReplyTime),
	"expires":           setTime(mapi.PidTagExpiryTime), "expiry-date": setTime(mapi.PidTagExpiryTime),
	"deferred-delivery": setTime(mapi.PidTagDeferredSendTime),
	"list-help":         set(mapi.PidTagListHelp), "list-subscribe": set(mapi.PidTagListSubscribe), "list-unsubscribe": set(mapi.PidTagListUnsubscribe),
	"disposition-notification-to": (*conversion).readReceipt,     // §2.2.3.1
	"return-receipt-to":           (*conversion).deliveryReceipt, // §2.2.3.1
	"x-auto-response-suppress":    (*conversion).suppress,
	"x-ms-has-attach":             nil, "x-ms-tnef-correlator": nil, "mime-version": nil, // said by the object itself
}

// set returns what copies a field's text into a property.
func set(tag mapi.Tag) func(*conversion, string) {
	return func(c *conversion, value string) { c.m.Set(tag, mapi.String(fieldText(value))) }
}

// setTime returns what copies a field's date into a property. One that cannot be read stays in the header as it came.
func setTime(tag mapi.Tag) func(*conversion, string) {
	return func(c *conversion, value string) {
		if at, ok := entity.ParseDate(value); ok {
			c.m.Set(tag, mapi.NewTime(at))
		}
	}
}

// envelope sets the properties that the header says.
func (c *conversion) envelope(e *entity.Entity) {
	c.m.Set(mapi.PidTagImportance, mapi.Integer32(importance(e)))
	c.m.Set(mapi.PidTagSensitivity, mapi.Integer32(0))
	if !c.Received.IsZero() {
		c.m.Set(mapi.PidTagMessageDeliveryTime, mapi.NewTime(c.Received)) // §2.2.3.2
	}
	c.addresses(e)
	seen := map[string]bool{}
	for _, f := range e.Header.Fields {
		name := strings.ToLower(f.Name)
		apply, known := mapped[name]
		switch {
		case f.Name == "" || IsOfStructure(name) || seen[name]:
		case known && apply != nil:
			apply(c, f.Value())
		case !known && !IsReserved(name):
			c.named(f)
		}
		seen[name] = true
	}
	c.automatic(e)
	c.submitted()
	c.keywords(e)
	c.topic(e)
	c.transportHeaders(e)
}

// IsOfStructure says whether a field says how the message is made, or which way it came: that is kept in
// PidTagTransportMessageHeaders alone.
func IsOfStructure(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "received", "return-path", "delivered-to", "dkim-signature", "authentication-results":
		return true
	case "content-class", "content-language":
		return false
	}
	return strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "arc-") || strings.HasPrefix(name, "resent-")
}

// Counts says which of several fields of a name count, MS-OXCMAIL §2.2.3.1 and §2.2.3.2: all of them, or the first alone, and the others
// stand in PidTagTransportMessageHeaders.
func Counts(name string) (all bool) {
	switch strings.ToLower(name) {
	case "to", "cc", "bcc", "reply-to", "keywords":
		return true
	}
	return false
}

// IsReserved says whether a field is one that Exchange's servers tell one another: from elsewhere it is not
// believed. MS-OXCMAIL §2.2.3.2.28.
func IsReserved(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "x-ms-exchange-organization-") || strings.HasPrefix(name, "x-ms-exchange-forest-")
}

// named keeps a field as a named property. MS-OXCMAIL §2.1.3.2 and §2.2.3.2.
func (c *conversion) named(f header.Field) {
	if !entity.IsFieldName(f.Name) {
		return // it is longer than the name of a property may be (MS-OXCDATA §2.6.1)
	}
	c.m.Set(mapi.Named{Set: mapi.PSInternetHeaders, Name: f.Name}, mapi.String(fieldText(f.Value())))
}

// transportHeaders keeps the header as it came, MS-OXCMAIL §2.2.3.2.28.
func (c *conversion) transportHeaders(e *entity.Entity) {
	var raw bytes.Buffer
	for _, f := range e.Header.Fields {
		if !IsReserved(f.Name) {
			raw.Write(f.Raw)
		}
	}
	raw.Write(e.Header.End)
	if raw.Len() > 0 {
		c.m.Set(mapi.PidTagTransportMessageHeaders, mapi.String(withoutNULs(entity.Text(raw.String()))))
	}
}

// subject sets the subject and its two parts, MS-OXCMAIL §2.2.3.2.6.
func (c *conversion) subject(value string) {
	text := fieldText(value)
	prefix := subjectPrefix(text)
	c.m.Set(mapi.PidTagSubject, mapi.String(text))
	c.m.Set(mapi.PidTagSubjectPrefix, mapi.String(prefix))
	c.m.Set(mapi.PidTagNormalizedSubject, mapi.String(strings.TrimPrefix(text, prefix)))
}

// subjectPrefixMost is how many letters a prefix has, MS-OXCMAIL §2.2.3.2.6.1.
const subjectPrefixMost = 3

// subjectPrefix returns what a reply or a forwarded message has in front of its subject: up to three
// letters, a colon and a blank.
func subjectPrefix(text string) string {
	letters, rest, found := strings.Cut(text, ":")
	if !found || !strings.HasPrefix(rest, " ") || letters == "" || len([]rune(letters)) > subjectPrefixMost {
		return ""
	}
	if strings.ContainsFunc(letters, func(r rune) bool { return !unicode.IsLetter(r) }) {
		return ""
	}
	return letters + ": "
}

// topic sets the topic of the conversation, MS-OXCMAIL §2.2.3.2.7.
func (c *conversion) topic(e *entity.Entity) {
	topic := fieldText(e.Field("Thread-Topic"))
	if topic == "" {
		topic = c.m.Text(mapi.PidTagNormalizedSubject)
	}
	if topic != "" {
		c.m.Set(mapi.PidTagConversationTopic, mapi.String(topic))
	}
}

// threadIndex sets the place in the conversation, MS-OXCMAIL §2.2.3.2.
func (c *conversion) threadIndex(value string) {
	octets, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), ""))
	if err == nil && len(octets) > 0 {
		c.m.Set(mapi.PidTagConversationIndex, mapi.Binary(octets))
	}
}

func (c *conversion) date(value string) {
	if at, ok := entity.ParseDate(value); ok {
		c.sent = at
	}
}

// submitted sets when the message was sent, MS-OXCMAIL §2.2.3.2. A date that cannot be read leaves the time of
// arrival.
func (c *conversion) submitted() {
	if c.sent.IsZero() {
		c.sent = c.Received
	}
	if !c.sent.IsZero() {
		c.m.Set(mapi.PidTagClientSubmitTime, mapi.NewTime(c.sent))
	}
}

// importances are the values of the fields that say it, in their order of preference. MS-OXCMAIL §2.2.3.2.5.
var importances = []struct {
	field  string
	values map[string]int
}{
	{"Importance", map[string]int{"low": 0, "normal": 1, "high": 2}},
	{"Priority", map[string]int{"non-urgent": 0, "normal": 1, "urgent": 2}},
	{"X-Priority", map[string]int{"5": 0, "4": 0, "3": 1, "2": 2, "1": 2}},
	{"X-MSMail-Priority", map[string]int{"low": 0, "normal": 1, "high": 2}},
}

const importanceNormal = 1

func importance(e *entity.Entity) int {
	for _, i := range importances {
		words := strings.Fields(strings.ToLower(e.Field(i.field)))
		if len(words) == 0 {
			continue
		}
		if value, known := i.values[words[0]]; known {
			return value
		}
	}
	return importanceNormal
}

// sensitivities are the values of PidTagSensitivity by those of the field, MS-OXCMAIL §2.2.3.2.
var sensitivities = map[string]mapi.Integer32{"normal": 0, "personal": 1, "private": 2, "company-confidential": 3}

func (c *conversion) sensitivity(value string) {
	if level, known := sensitivities[strings.ToLower(value)]; known {
		c.m.Set(mapi.PidTagSensitivity, level)
	}
}

// keywords sets the categories, MS-OXCMAIL §2.2.3.2.
func (c *conversion) keywords(e *entity.Entity) {
	var words mapi.Multiple[mapi.String]
	for _, f := range e.Header.All("Keywords") {
		for word := range strings.SplitSeq(fieldText(f.Value()), ",") {
			if word = strings.TrimSpace(word); word != "" {
				words = append(words, mapi.String(word))
			}
		}
	}
	if len(words) > 0 {
		c.m.Set(mapi.PidNameKeywords, words)
	}
}

// suppressions are the bits of PidTagAutoResponseSuppress by their names, MS-OXCMAIL §2.2.3.2 and MS-OXOMSG §2.2.1.
var suppressions = []struct {
	name string
	bit  mapi.Integer32
}{{"DR", 0x01}, {"NDR", 0x02}, {"RN", 0x04}, {"NRN", 0x08}, {"OOF", 0x10}, {"AutoReply", 0x20}}

func (c *conversion) suppress(value string) {
	var bits mapi.Integer32
	for name := range strings.SplitSeq(value, ",") {
		for _, s := range suppressions {
			if name = strings.TrimSpace(name); strings.EqualFold(name, s.name) || strings.EqualFold(name, "All") {
				bits |= s.bit
			}
		}
	}
	c.m.Set(mapi.PidTagAutoResponseSuppress, bits)
}

// automatic sees to it that what a machine has sent gets no automatic reply, RFC 3834 §5.
func (c *conversion) automatic(e *entity.Entity) {
	kind := strings.ToLower(entity.ParseParameters(e.Field("Auto-Submitted")).Value)
	if kind != "" && kind != "no" && !c.m.Has(mapi.PidTagAutoResponseSuppress) {
		c.suppress("OOF,AutoReply")
	}
}
