package mime

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// recordings are the names of the messages in testdata.
func recordings(t testing.TB) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../testdata/messages/*.mapi.json")
	if err != nil || len(files) != 33 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".mapi.json"))
	}
	return names
}

// sent returns a message as it was sent.
func sent(t testing.TB, name string) []byte {
	t.Helper()
	octets, err := os.ReadFile("testdata/messages/" + name + ".sent.eml")
	if err == nil {
		return octets
	}
	packed, err := os.Open("testdata/messages/" + name + ".sent.eml.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	if octets, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return octets
}

// object is a recorded message, or one that is attached to it.
type object struct {
	Properties  []map[string]any `json:"properties"`
	Others      []map[string]any `json:"not_in_get_properties_all,omitempty"`
	Recipients  []map[string]any `json:"recipients,omitempty"`
	Attachments []attached       `json:"attachments,omitempty"`
}

type attached struct {
	Properties []map[string]any `json:"properties"`
	Data       any              `json:"data,omitempty"`
	Embedded   *object          `json:"embedded_message,omitempty"`
}

// recorded returns what the server made of a message.
func recorded(t testing.TB, name string) *mapi.Message {
	t.Helper()
	octets, err := os.ReadFile("../testdata/messages/" + name + ".mapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(octets, &o); err != nil {
		t.Fatal(err)
	}
	o.asDump()
	dump, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mapi.ReadDump(bytes.NewReader(dump))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// asDump brings a recording into the form that mapi.ReadDump reads.
func (o *object) asDump() {
	o.Properties = present(append(o.Properties, o.Others...))
	o.Others = nil
	for _, r := range o.Recipients {
		properties := []map[string]any{{"name": "PidTagRecipientType", "value": map[string]int{"To": 1, "Cc": 2, "Bcc": 3}[fmt.Sprint(r["recipient_type"])]}}
		for field, name := range map[string]string{"email_address": "PidTagEmailAddress", "display_name": "PidTagDisplayName"} {
			if text, is := r[field].(string); is {
				properties = append(properties, map[string]any{"name": name, "value": text})
			}
		}
		for _, p := range r["properties"].([]any) {
			properties = append(properties, p.(map[string]any))
		}
		for field := range r {
			delete(r, field)
		}
		r["properties"] = present(properties)
	}
	for i := range o.Attachments {
		o.Attachments[i].asDump()
	}
}

func (a *attached) asDump() {
	a.Data = nil
	for _, p := range a.Properties {
		if data, is := p["value"].(string); is && p["tag"] == "0x37010102" {
			a.Data = data
		}
	}
	a.Properties = present(a.Properties)
	if a.Embedded != nil {
		a.Embedded.asDump()
	}
}

// present returns the properties that have a value, without the data of an attachment.
func present(properties []map[string]any) (kept []map[string]any) {
	for _, p := range properties {
		value, structured := p["value"].(map[string]any)
		_, isTime := value["filetime"]
		if tag, is := p["tag"].(string); is && strings.HasSuffix(tag, "001e") {
			p["tag"], p["type"] = strings.TrimSuffix(tag, "e")+"f", "PtypString" // the JSON has UTF-8
		}
		if p["tag"] != "0x37010102" && (!structured || isTime) {
			kept = append(kept, p)
		}
	}
	return kept
}

func convert(t testing.TB, r Reader, message []byte) *mapi.Message {
	t.Helper()
	m, err := r.Read(bytes.NewReader(message), int64(len(message)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// difference is a kind of value in which we differ from the recording, and why.
type difference struct {
	why   string
	names []string // of properties; each may end in an asterisk
	// same says what is left to be the same: nil is nothing. message is the name of the recording.
	same func(message string, ours, theirs any) bool
}

const (
	computed  = "the store sets them when it saves or is asked (MS-OXCMSG §2.2.1, MS-OXCFXICS §2.2.1)"
	entryIDs  = "the server finds its own users in its address book, and pads lists of entry ids otherwise (MS-OXCMAIL §2.2.3.1, MS-OXCDATA §2.3.3)"
	otherBody = "the store makes one body of the other, and this server HTML of each plain text (README; MS-OXBBODY §2.1.3)"
)

// inTNEF says whether a message has come as TNEF.
func inTNEF(message string) bool { return strings.Contains(message, "-winmail-") }

// differences are all there are.
var differences = []difference{
	{computed, []string{
		"PidTagMessageSize", "PidTagAccess", "PidTagAccessLevel", "PidTagCreat*", "PidTagLastMod*", "PidTagSourceKey", "PidTagParentSourceKey",
		"PidTagChange*", "PidTagPredecessorChangeList", "PidTagFolderId", "PidTagMid", "0x0e230003", "PidTagEntryId/message", "PidTagInternetArticleNumber", "PidTagSearchKey/message",
		"PidTagMessageStatus", "PidTagRead", "PidTagRtfInSync", "PidTagObjectType/message", "PidTagLocalCommitTime", "PidTagCodePageId", "PidTagMessageCodepage", "PidTagRecordKey",
		"PidTagAttachSize", "PidLidSmartNoAttach", "PidTagRecipientEntryId", "PidTagRecipientFlags",
	}, nil},
	{computed, []string{"PidTagDisplayTo", "PidTagDisplayCc", "PidTagMessageFlags", "PidTagHasAttachments", "PidTagAttachEncoding", "PidTagRenderingPosition"}, func(message string, ours, _ any) bool {
		return inTNEF(message) && (ours == nil || ours == mapi.Integer32(16)) // TNEF has no flag for attachments, and no position where there is none
	}},
	{"TNEF does not speak for the header, which others have seen (RFC 5322 §3.6; MS-OXCMAIL §2.2.3.1.6 for replies)", []string{
		"PidTagClientSubmitTime", "PidTagTransportMessageHeaders", "PidTagInternetMessageId",
	}, func(message string, ours, _ any) bool {
		number, _, _ := strings.Cut(message, "-")
		return inTNEF(message) && strings.Contains(fmt.Sprint(ours), map[bool]string{true: "fixture-" + number, false: "T09:" + number + ":07Z"}[strings.Contains(fmt.Sprint(ours), "@")])
	}},
	{"they say whose mailbox it is in (MS-OXOMSG §2.2.1)", []string{"PidTagReceived*", "PidTagMessageToMe", "PidTagMessageCcMe", "PidTagMessageRecipientMe"}, nil},
	{"the server makes one up for each rendering (README; RFC 2045 §7)", []string{"PidTagBodyContentId"}, nil},
	{otherBody, []string{"PidTagHtml"}, func(_ string, ours, theirs any) bool {
		return ours == nil && strings.Contains(string(theirs.(mapi.Binary)), "gromox-texttohtml")
	}},
	{otherBody, []string{"PidTagBody"}, func(message string, ours, _ any) bool {
		return ours == nil && (strings.HasPrefix(message, "06-") || strings.HasPrefix(message, "28-"))
	}},
	{"a message without Thread-Index gets its place in a conversation from the store (MS-OXOMSG §2.2.1.3)", []string{"PidTagConversationI*"}, nil},
	{entryIDs, []string{"*EntryId", "PidTagReplyRecipientEntries"}, func(_ string, ours, theirs any) bool {
		return bytes.Contains(theirs.(mapi.Binary), []byte("\xdc\xa7\x40\xc8\xc0\x42\x10\x1a")) && len(ours.(mapi.Binary)) > 0
	}},
	{entryIDs, []string{"PidTagReplyRecipientEntries"}, func(_ string, ours, theirs any) bool {
		a, err1 := mapi.ParseEntryList(ours.(mapi.Binary))
		b, err2 := mapi.ParseEntryList(theirs.(mapi.Binary))
		return err1 == nil && err2 == nil && reflect.DeepEqual(a, b)
	}},
	{"the server takes the last line end of a message off, which is text (RFC 2046 §5.1.1 has those before boundaries alone)", []string{"PidTagBody", "PidTagHtml"}, func(_ string, ours, theirs any) bool {
		return strings.TrimSuffix(textOf(ours), "\r\n") == textOf(theirs)
	}},
	{"the server's own X-Lasthop and Received stand in front (RFC 5321 §4.4)", []string{"PidTagTransportMessageHeaders"}, func(message string, ours, theirs any) bool {
		return strings.HasSuffix(textOf(theirs), textOf(ours)) || strings.HasPrefix(message, "26-")
	}},
	{"the server converts all text to UTF-8; §2.2.3.3 has the code page of the charset", []string{"PidTagInternetCodepage"}, func(_ string, ours, theirs any) bool {
		return theirs == mapi.Integer32(65001) && ours != nil || ours == nil && theirs == nil
	}},
	{"the server mangles a quoted local part (README; RFC 5322 §3.4.1)", []string{"PidTag*Address", "PidTagEntryId", "PidTagSearchKey"}, func(message string, ours, theirs any) bool {
		return strings.HasPrefix(message, "14-") && strings.Contains(textOf(ours), `quoted local"@elsewhere.example`) && strings.Contains(textOf(theirs), "elsewhere.example\"@vm")
	}},
	{"a name in a comment is a name (RFC 5322 §3.4 and appendix A.6.3); without one it is the address (§2.2.3.1)", []string{"PidTagDisplay*", "PidTagDisplayName"}, func(message string, ours, _ any) bool {
		return strings.HasPrefix(message, "14-") && (strings.Contains(textOf(ours), "Dora from the harbour") || strings.Contains(textOf(ours), `quoted local"@elsewhere.example`)) ||
			strings.HasPrefix(message, "11-") && textOf(ours) == "nobody@elsewhere.example"
	}},
	{"the server does not read an obsolete date (RFC 5322 §4.3)", []string{"PidTagClientSubmitTime"}, func(message string, ours, _ any) bool {
		return strings.HasPrefix(message, "30-") && fmt.Sprint(ours) == "2026-11-12T09:30:07Z" || strings.HasPrefix(message, "27-") // the time of arrival, with its fraction
	}},
	{"the server loses raw 8-bit octets of a header (README; RFC 6532 §3.2)", []string{"PidTag*Subject", "PidTag*Name", "PidTagConversationTopic", "PidTagDisplayTo"}, func(message string, ours, _ any) bool {
		return strings.HasPrefix(message, "26-") && strings.ContainsAny(textOf(ours), "äöüßé")
	}},
	{"the server makes a file's name up; clients do so when they save (RFC 2183 §2.3)", []string{"PidTagAttachLongFilename", "PidTagAttachExtension"}, func(message string, ours, theirs any) bool {
		return strings.HasPrefix(message, "11-") && ours == nil && strings.HasSuffix(textOf(theirs), ".dat")
	}},
	{"the language of a text is a named property (PidNameContentLanguage, MS-OXCMAIL §2.1.3.2)", []string{"PidTagMessageLocaleId"}, nil},
	{"the server cuts subjects at 255 characters, a limit of its store (RFC 5322 §2.2.3 has none)", []string{"PidTag*Subject", "PidTagConversationTopic"}, func(message string, ours, theirs any) bool {
		return strings.HasPrefix(message, "20-") && strings.HasPrefix(textOf(ours), textOf(theirs)) && len(textOf(theirs)) == 255
	}},
	{"a request is no full update (MS-OXOCAL §2.2.6), and times are UTC's: there are no time zones to describe", []string{
		"PidLidMeetingType", "PidLidAppointmentTimeZoneDefinition*",
	}, nil},
	{"a picture that the text shows is hidden, as Exchange has it and the server does not (MS-OXCMSG §2.2.2.24): there is no attachment to see", []string{
		"PidTagMessageFlags/message", "PidTagHasAttachments/message",
	}, func(message string, ours, _ any) bool {
		return strings.HasPrefix(message, "06-") && (ours == mapi.Integer32(messageUnmodified) || ours == mapi.Boolean(false))
	}},
	{"Precedence has no property in MS-OXPROPS, and is a named one", []string{"0x1041001f"}, nil},
}

func textOf(v any) string {
	switch v := v.(type) {
	case mapi.String:
		return string(v)
	case mapi.String8:
		return v.Text()
	case mapi.Binary:
		return strings.ToLower(strings.ReplaceAll(string(v), "\x00", ""))
	}
	return ""
}

// allowed says whether a difference is one that is listed.
func allowed(message, kind, name string, ours, theirs any) bool {
	for i, d := range differences {
		for _, pattern := range d.names {
			pattern, of, some := strings.Cut(pattern, "/")
			matches, err := filepath.Match(pattern, name)
			if err == nil && matches && (!some || of == kind) && (d.same == nil || d.same(message, ours, theirs)) {
				used[i] = true
				return true
			}
		}
	}
	return false
}

var used = map[int]bool{}

// compare reports in which properties ours differ from theirs.
func compare(t *testing.T, message, kind string, ours, theirs *mapi.Properties) {
	t.Helper()
	for p := range theirs.All() {
		name := p.Tag.Name()
		if !p.Named.IsZero() {
			name = p.Named.String()
		}
		if name == "" {
			name = fmt.Sprintf("0x%08x", uint32(p.Tag))
		}
		v := ours.Get(p.Key())
		if equal(v, p.Value) || allowed(message, kind, name, v, p.Value) {
			continue
		}
		t.Errorf("%s %s is %v, and was recorded as %v", kind, name, show(v), show(p.Value))
	}
}

func show(v mapi.Value) string {
	if octets, is := v.(mapi.Binary); is {
		return hex.EncodeToString(octets)
	}
	return fmt.Sprintf("%.200q", fmt.Sprint(v))
}

func equal(ours, theirs mapi.Value) bool {
	switch theirs := theirs.(type) {
	case mapi.String:
		return ours != nil && textOf(ours) == string(theirs) || ours == nil && theirs == ""
	case mapi.Binary:
		octets, is := ours.(mapi.Binary)
		return is && bytes.Equal(octets, theirs)
	}
	return fmt.Sprintf("%#v", ours) == fmt.Sprintf("%#v", theirs)
}

// compareMessages compares whole messages.
func compareMessages(t *testing.T, message, kind string, ours, theirs *mapi.Message) {
	t.Helper()
	compare(t, message, kind, &ours.Properties, &theirs.Properties)
	if len(ours.Recipients) != len(theirs.Recipients) || len(ours.Attachments) != len(theirs.Attachments) {
		t.Errorf("%d recipients and %d attachments; %d and %d were recorded", len(ours.Recipients), len(ours.Attachments), len(theirs.Recipients), len(theirs.Attachments))
		return
	}
	for i, r := range theirs.Recipients {
		compare(t, message, "recipient", &ours.Recipients[i].Properties, &r.Properties)
	}
	for i, a := range theirs.Attachments {
		mine := ours.Attachments[i]
		compare(t, message, "attachment", &mine.Properties, &a.Properties)
		if !a.Data.IsZero() && !bytes.Equal(octetsOf(t, mine.Data), octetsOf(t, a.Data)) {
			t.Errorf("attachment %d has other octets", i)
		}
		if a.Embedded != nil {
			compareMessages(t, message, kind, mine.Embedded, a.Embedded)
		}
	}
}

func octetsOf(t testing.TB, c mapi.Content) []byte {
	t.Helper()
	if c.IsZero() {
		t.Fatal("there are no data")
	}
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	octets, err := io.ReadAll(r)
	if err != nil || int64(len(octets)) != c.Size {
		t.Fatalf("%d octets of %d, %v", len(octets), c.Size, err)
	}
	return octets
}

// TestRecorded: what we make of each message is what was recorded, but for the differences that are listed.
func TestRecorded(t *testing.T) {
	for _, name := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			theirs := recorded(t, name)
			at, _ := theirs.Time(mapi.PidTagMessageDeliveryTime)
			compareMessages(t, name, "message", convert(t, Reader{Received: at, TNEF: OpenTNEF(inMemorySpool)}, sent(t, name)), theirs)
		})
	}
	kinds := map[string]bool{}
	for i, d := range differences {
		kinds[d.why] = true
		if !used[i] {
			t.Errorf("this difference is none any more: %s", d.why)
		}
	}
	if len(kinds) > 20 {
		t.Errorf("%d kinds of differences", len(kinds))
	}
}
