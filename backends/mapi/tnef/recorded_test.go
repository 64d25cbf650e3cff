package tnef

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends/mapi"
)

// decodeFile decodes a file of testdata in which nothing is wrong.
func decodeFile(t testing.TB, name string) *mapi.Message {
	t.Helper()
	octets, err := os.ReadFile("testdata/" + name + ".tnef")
	if err != nil {
		t.Fatal(err)
	}
	return decodeAll(t, octets)
}

func decodeAll(t testing.TB, octets []byte) *mapi.Message {
	t.Helper()
	s, err := Decode(bytes.NewReader(octets), int64(len(octets)))
	if err != nil || len(s.Problems) > 0 {
		t.Fatalf("%v %v", err, s)
	}
	return s.Message
}

func readAll(t testing.TB, c mapi.Content) []byte {
	t.Helper()
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

// notExported are the properties that the server computes, or changes when it stores a message: they are not in its export,
// or have other values there.
var notExported = map[mapi.Tag]string{
	mapi.PidTagDisplayTo:                 "computed of the recipients, MS-OXCMSG §2.2.1.9",
	mapi.PidTagDisplayCc:                 "computed of the recipients, MS-OXCMSG §2.2.1.9",
	mapi.PidTagDisplayBcc:                "computed of the recipients, MS-OXCMSG §2.2.1.9",
	mapi.PidTagMessageFlags:              "computed, MS-OXCMSG §2.2.1.6",
	mapi.PidTagMessageSize:               "computed, MS-OXCMSG §2.2.1.7",
	mapi.PidTagHasAttachments:            "computed, MS-OXCMSG §2.2.1.2",
	mapi.PidTagAccess:                    "of the store's user, MS-OXCPRPT §2.2.1.1",
	mapi.PidTagAccessLevel:               "of the store's user, MS-OXCPRPT §2.2.1.2",
	mapi.PidTagMessageLocaleId:           "of the session, MS-OXCMSG §2.2.1.5",
	mapi.PidTagMessageCodepage:           "of the session, MS-OXCMSG §2.2.1.4",
	mapi.PidTagCodePageId:                "of the session",
	mapi.PidTagSourceKey:                 "of the store's replica, MS-OXCFXICS §2.2.1.2",
	mapi.PidTagParentSourceKey:           "of the store's replica, MS-OXCFXICS §2.2.1.2",
	mapi.PidTagChangeKey:                 "of the store's replica, MS-OXCFXICS §2.2.1.2",
	mapi.PidTagPredecessorChangeList:     "of the store's replica, MS-OXCFXICS §2.2.1.2",
	mapi.PidTagLocalCommitTime:           "of the store",
	mapi.PidTagFolderId:                  "of the store",
	mapi.PidTagLastModifierName:          "of who opened the message last",
	mapi.PidTagLastModifierEntryId:       "of who opened the message last",
	mapi.PidTagSearchKey:                 "made anew by the store, as the export came before",
	mapi.PidTagLastModificationTime:      "of the store; whole seconds in attDateModified, MS-OXTNEF §2.1.3.3.4",
	mapi.PidTagMessageDeliveryTime:       "whole seconds in attDateRecd, MS-OXTNEF §2.1.3.3.4",
	mapi.PidTagTnefCorrelationKey:        "of the export, MS-OXCMAIL §2.1.3.4.1",
	mapi.PidTagRecordKey:                 "of the store",
	mapi.PidTagEntryId:                   "of the store; a recipient's is told as a field of its row, as what follows (MS-OXCDATA §2.8.3.2)",
	mapi.PidTagRowid:                     "a field of the row",
	mapi.PidTagRecipientType:             "a field of the row",
	mapi.PidTagResponsibility:            "a field of the row",
	mapi.PidTagAddressType:               "a field of the row",
	mapi.PidTagTransmittableDisplayName:  "a field of the row",
	mapi.PidTagAttachNumber:              "of the store, MS-OXCMSG §2.2.2.6",
	mapi.PidTagAttachSize:                "computed, MS-OXCMSG §2.2.2.5",
	mapi.PidTagMid:                       "of the store",
	mapi.PidTagChangeNumber:              "of the store",
	mapi.PidTagAssociated:                "of the store",
	mapi.PidTagObjectType:                "computed, MS-OXCPRPT §2.2.1.7",
	mapi.NewTag(0x3701, mapi.PtypBinary): "the attachment's Data",
}

// TestRecordedExports compares what a server exported as TNEF with what it said of the same message.
func TestRecordedExports(t *testing.T) {
	files, err := filepath.Glob("testdata/*.tnef")
	if err != nil || len(files) != 5 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".tnef")
		t.Run(name, func(t *testing.T) {
			want, sums := recorded(t, name)
			compareMessages(t, name, decodeFile(t, name), want, sums)
			if len(*sums) > 0 {
				t.Errorf("attachments that are not in the export: %v", *sums)
			}
		})
	}
}

// recorded returns what the server said of a message, and the SHA-256 of each attachment's data in turn.
func recorded(t *testing.T, name string) (*mapi.Message, *[]string) {
	t.Helper()
	octets, err := os.ReadFile("../testdata/messages/" + name + ".mapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var dump map[string]any
	d := json.NewDecoder(bytes.NewReader(octets))
	d.UseNumber()
	if err := d.Decode(&dump); err != nil {
		t.Fatal(err)
	}
	var sums []string
	asDump(dump, &sums)
	octets, err = json.Marshal(dump)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mapi.ReadDump(bytes.NewReader(octets))
	if err != nil {
		t.Fatal(err)
	}
	return m, &sums
}

// asDump makes a recording a dump: what was asked for by name, and what stands
// in a recipient's row, goes to the other properties, and of data there is a sum.
func asDump(recorded map[string]any, sums *[]string) {
	if more, ok := recorded["not_in_get_properties_all"].([]any); ok {
		properties, _ := recorded["properties"].([]any)
		recorded["properties"] = append(properties, more...)
	}
	recipients, _ := recorded["recipients"].([]any)
	for _, r := range recipients {
		recipient, _ := r.(map[string]any)
		properties, _ := recipient["properties"].([]any)
		for field, name := range map[string]string{"display_name": "PidTagDisplayName", "email_address": "PidTagEmailAddress"} {
			if text, ok := recipient[field].(string); ok {
				properties = append(properties, map[string]any{"name": name, "value": text})
			}
		}
		recipient["properties"] = properties
	}
	attachments, _ := recorded["attachments"].([]any)
	for _, a := range attachments {
		attachment, _ := a.(map[string]any)
		if data, ok := attachment["data"].(map[string]any); ok {
			*sums = append(*sums, fmt.Sprint(data["sha256"]))
			delete(attachment, "data")
		}
		if embedded, ok := attachment["embedded_message"].(map[string]any); ok {
			asDump(embedded, sums)
		}
	}
}

func compareMessages(t *testing.T, where string, got, want *mapi.Message, sums *[]string) {
	t.Helper()
	compareProperties(t, where, &got.Properties, &want.Properties)
	if len(got.Recipients) != len(want.Recipients) && len(got.Recipients) > 0 { // outermost, they are in the envelope alone
		t.Errorf("%s: %d recipients, want %d", where, len(got.Recipients), len(want.Recipients))
	}
	if len(got.Attachments) != len(want.Attachments) {
		t.Fatalf("%s: %d attachments, want %d", where, len(got.Attachments), len(want.Attachments))
	}
	for i, r := range got.Recipients {
		compareProperties(t, fmt.Sprintf("%s, recipient %d", where, i), &r.Properties, &want.Recipients[i].Properties)
	}
	for i, a := range got.Attachments {
		where := fmt.Sprintf("%s, attachment %d", where, i)
		compareProperties(t, where, &a.Properties, &want.Attachments[i].Properties)
		if embedded := want.Attachments[i].Embedded; embedded != nil && a.Embedded != nil {
			compareMessages(t, where, a.Embedded, embedded, sums)
			continue
		}
		sum := sha256.Sum256(readAll(t, a.Data))
		if len(*sums) == 0 || hex.EncodeToString(sum[:]) != (*sums)[0] {
			t.Fatalf("%s has other data, or none", where)
		}
		*sums = (*sums)[1:]
	}
}

func compareProperties(t *testing.T, where string, got, want *mapi.Properties) {
	t.Helper()
	for p := range want.All() {
		if _, listed := notExported[listedAs(p.Tag)]; listed {
			continue
		}
		if _, failed := p.Value.(mapi.ErrorCode); failed {
			continue
		}
		if v := got.Get(p.Key()); v == nil || !cmp.Equal(asUnicode(t, v), p.Value) {
			t.Errorf("%s: %s is %v, want %v", where, p, v, p.Value)
		}
	}
	for p := range got.All() {
		if _, listed := notExported[listedAs(p.Tag)]; !listed && !want.Has(p.Key()) {
			t.Errorf("%s: %s is %v, and the server has none", where, p, p.Value)
		}
	}
}

// listedAs returns the tag by which a property is found in the list.
func listedAs(tag mapi.Tag) mapi.Tag {
	if d, ok := mapi.Lookup(tag); ok && tag.ID() != 0x3701 {
		return d.Tag
	}
	return tag
}

// asUnicode makes a string Unicode: the attributes that stand for a property have none.
func asUnicode(t *testing.T, v mapi.Value) mapi.Value {
	t.Helper()
	if s, ok := v.(mapi.String8); ok {
		return mapi.String(s.Text())
	}
	return v
}

// TestWinmail opens messages that carry TNEF.
func TestWinmail(t *testing.T) {
	for name, export := range map[string]string{
		"24-winmail-dat": "07-mixed-two-attachments", "32-winmail-nested": "08-nested-rfc822", "33-winmail-meeting": "10-calendar-request",
	} {
		t.Run(name, func(t *testing.T) {
			octets := winmail(t, name)
			if got, want := dump(t, decodeAll(t, octets)), dump(t, decodeFile(t, export)); got != want {
				t.Error(cmp.Diff(want, got))
			}
		})
	}
}

// winmail returns what is attached to a message as winmail.dat.
func winmail(t *testing.T, name string) []byte {
	t.Helper()
	octets, err := os.ReadFile("testdata/" + name + ".sent.eml")
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(octets))
	if err != nil {
		t.Fatal(err)
	}
	_, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for parts := multipart.NewReader(m.Body, parameters["boundary"]); ; {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if part.FileName() == "winmail.dat" {
			octets, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
			if err != nil {
				t.Fatal(err)
			}
			return octets
		}
	}
}

func dump(t testing.TB, m *mapi.Message) string {
	t.Helper()
	var b strings.Builder
	if err := mapi.WriteDump(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
