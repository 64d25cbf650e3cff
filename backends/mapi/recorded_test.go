package mapi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded is one of testdata/messages, or a message in one.
type recorded struct {
	OpenResponse struct {
		SubjectPrefix     string   `json:"subject_prefix"`
		NormalizedSubject string   `json:"normalized_subject"`
		Columns           []string `json:"recipient_columns"`
		Recipients        int      `json:"recipients_in_open_response"`
	} `json:"open_response"`
	Properties  []recordedProperty `json:"properties"`
	Others      []recordedProperty `json:"not_in_get_properties_all"`
	Recipients  []recordedRecipient
	Attachments []struct {
		Properties []recordedProperty `json:"properties"`
		Response   string             `json:"raw_properties_response"`
		Opened     string             `json:"raw_open_embedded_message_response"`
		Embedded   *recorded          `json:"embedded_message"`
	}
	Raw struct {
		Properties string   `json:"get_properties_all_response"`
		Recipients []string `json:"read_recipients_responses"`
		Opened     string   `json:"open_message_response"`
	}
}

type recordedProperty struct {
	dumpedProperty
	Via string `json:"via"`
}

type recordedRecipient struct {
	Kind         string             `json:"recipient_type"`
	EmailAddress *string            `json:"email_address"`
	DisplayName  *string            `json:"display_name"`
	Properties   []recordedProperty `json:"properties"`
}

// TestRecordedMessages decodes what a server sent, compares it with what the recorder read in it, and encodes it again.
func TestRecordedMessages(t *testing.T) {
	for _, file := range recordings(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".mapi.json"), func(t *testing.T) { load(t, file).check(t) })
	}
}

func recordings(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/messages/*.mapi.json")
	if err != nil || len(files) != 33 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

func load(t testing.TB, file string) *recorded {
	t.Helper()
	octets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r recorded
	if err := json.Unmarshal(octets, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func (r *recorded) check(t *testing.T) {
	checkProperties(t, r.Raw.Properties, r.Properties)
	for _, raw := range r.Raw.Recipients {
		r.checkRecipients(t, unhexed(t, raw)[6:])
	}
	if r.Raw.Opened != "" {
		r.checkOpened(t, unhexed(t, r.Raw.Opened)[6:])
	}
	for _, a := range r.Attachments {
		checkProperties(t, a.Response, a.Properties)
		if a.Embedded != nil {
			a.Embedded.checkOpened(t, unhexed(t, a.Opened)[6+1+8:])
			a.Embedded.check(t)
		}
	}
}

func unhexed(t testing.TB, text string) []byte {
	t.Helper()
	octets, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// checkProperties compares a response of RopGetPropertiesAll or RopGetPropertiesSpecific (MS-OXCROPS §2.2.8.3, §2.2.8.4).
func checkProperties(t *testing.T, raw string, want []recordedProperty) {
	t.Helper()
	octets := unhexed(t, raw)
	if len(octets) == 0 || octets[0] != 0x08 {
		return // asked for by name: there is no tag with the values
	}
	d := NewDecoder(octets[6:], Format{CodePage: 1252})
	got := d.TaggedValues()
	if d.Err() != nil || d.Left() != 0 {
		t.Fatalf("%v, %d octets left", d.Err(), d.Left())
	}
	byTag := map[Tag]recordedProperty{}
	for _, w := range want {
		byTag[tagOf(t, w.Tag)] = w
	}
	for _, p := range got {
		w, ok := byTag[p.Tag]
		if !ok {
			w, ok = byTag[p.Tag.WithType(PtypUnspecified)]
		}
		if _, failed := p.Value.(ErrorCode); failed {
			continue // too large, and read by a stream
		}
		if !ok || w.Via == "" {
			compareValue(t, p.Tag, p.Value, w.Value)
		}
		compareName(t, p.Tag, w)
	}
	e := NewEncoder(bytes.Clone(octets[:6]), Format{})
	e.TaggedValues(got)
	if e.Err() != nil || !bytes.Equal(e.Octets(), octets) {
		t.Errorf("encoded again it is %x (%v), want %x", e.Octets(), e.Err(), octets)
	}
}

func tagOf(t testing.TB, text string) Tag {
	t.Helper()
	var tag Tag
	if _, err := fmt.Sscanf(text, "0x%08x", &tag); err != nil {
		t.Fatal(err)
	}
	return tag
}

// zeros are those that the recorder wrote at the end of a time.
var zeros = regexp.MustCompile(`(\.[0-9]*[1-9])0+Z`)

// compareValue compares a value with what the recorder read, as JSON.
func compareValue(t *testing.T, tag Tag, v Value, want json.RawMessage) {
	t.Helper()
	if large := struct{ Size int }{}; json.Unmarshal(want, &large) == nil && large.Size > 0 {
		return
	}
	if s, ok := v.(String8); ok {
		v = String(s.Text()) // the recorder did so
	}
	if code, ok := v.(ErrorCode); ok {
		var failed dumpedError
		if err := json.Unmarshal(want, &failed); err != nil || failed.Error != code.String() {
			t.Errorf("%s: %v, want %s", tag, code, want)
		}
		return
	}
	got, err := dumpValue(v)
	if at, ok := v.(Time); ok { // the recorder wrote no more than microseconds
		got, err = json.Marshal(dumpedTime{uint64(at), (at - at%10).String()})
	}
	if err != nil {
		t.Errorf("%s: %v", tag, err)
		return
	}
	if diff := cmp.Diff(plain(t, zeros.ReplaceAll(want, []byte("${1}Z"))), plain(t, got)); diff != "" {
		t.Errorf("%s: %s", tag, diff)
	}
	if back, err := undumpValue(v.Type(), want); err != nil || !cmp.Equal(back, v) {
		t.Errorf("%s: read from JSON it is %v, %v; want %v", tag, back, err, v)
	}
}

// plain is JSON without its form.
func plain(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return v
}

// compareName compares the name of a property with the recorder's, which had its own table.
func compareName(t *testing.T, tag Tag, w recordedProperty) {
	t.Helper()
	switch {
	case w.GUID != "":
		n, err := w.name()
		if err != nil {
			t.Errorf("%s: %v", tag, err)
		}
		if d, ok := LookupNamed(n); w.Name != "named" && (!ok || d.Name != w.Name) {
			t.Errorf("%s is %s, want %s", tag, d.Name, w.Name)
		}
	case strings.HasPrefix(w.Name, "PidTag") && !strings.Contains(w.Name, "/") && tag.Name() != "" && tag.Name() != w.Name:
		t.Errorf("%s, want %s", tag, w.Name)
	}
}

func (r *recorded) columns(t *testing.T) []Tag {
	t.Helper()
	var columns []Tag
	for _, c := range r.OpenResponse.Columns {
		columns = append(columns, tagOf(t, c))
	}
	return columns
}

// checkOpened compares what RopOpenMessage and RopOpenEmbeddedMessage say in the same way (MS-OXCROPS §2.2.6.1.2).
func (r *recorded) checkOpened(t *testing.T, octets []byte) {
	t.Helper()
	d := NewDecoder(octets, Format{})
	d.Uint8() // HasNamedProperties
	prefix, _ := d.TypedString()
	subject, _ := d.TypedString()
	d.Uint16() // RecipientCount
	columns := d.Tags()
	if d.Err() != nil || prefix != r.OpenResponse.SubjectPrefix || subject != r.OpenResponse.NormalizedSubject || !slices.Equal(columns, r.columns(t)) {
		t.Errorf("%q %q %v %v", prefix, subject, columns, d.Err())
	}
	n := int(d.Uint8())
	if n != r.OpenResponse.Recipients {
		t.Errorf("%d recipients, want %d", n, r.OpenResponse.Recipients)
	}
	for i := range n {
		d.Uint8() // RecipientType
		r.checkRecipient(t, d, r.Recipients[i])
	}
	if d.Err() != nil || d.Left() != 0 {
		t.Errorf("%v, %d octets left", d.Err(), d.Left())
	}
}

// checkRecipients compares a response of RopReadRecipients, MS-OXCROPS §2.2.6.6.2.
func (r *recorded) checkRecipients(t *testing.T, octets []byte) {
	t.Helper()
	d := NewDecoder(octets, Format{})
	for range d.Uint8() {
		row := int(d.Uint32())
		d.Uint8() // RecipientType
		if row >= len(r.Recipients) {
			t.Fatalf("there is no recipient %d", row)
		}
		r.checkRecipient(t, d, r.Recipients[row])
	}
	if d.Err() != nil || d.Left() != 0 {
		t.Errorf("%v, %d octets left", d.Err(), d.Left())
	}
}

// checkRecipient compares what OpenRecipientRow and ReadRecipientRow have alike, MS-OXCROPS §2.2.6.6.2.1.
func (r *recorded) checkRecipient(t *testing.T, d *Decoder, want recordedRecipient) {
	t.Helper()
	codePage := int(d.Uint16())
	d.Uint16() // Reserved
	octets := d.Bytes(int(d.Uint16()))
	inner := NewDecoder(octets, Format{CodePage: codePage})
	row := inner.RecipientRow(r.columns(t))
	if inner.Err() != nil || inner.Left() != 0 {
		t.Errorf("%v, %d octets left", inner.Err(), inner.Left())
	}
	if want.EmailAddress != nil && *row.EmailAddress != *want.EmailAddress || !cmp.Equal(row.DisplayName, want.DisplayName) {
		t.Errorf("%v %v, want %v %v", row.EmailAddress, row.DisplayName, want.EmailAddress, want.DisplayName)
	}
	for i, v := range row.Values {
		compareValue(t, r.columns(t)[i], v, want.Properties[i].Value)
	}
	e := NewEncoder(nil, Format{CodePage: codePage})
	e.RecipientRow(r.columns(t), row)
	if e.Err() != nil || !bytes.Equal(e.Octets(), octets) {
		t.Errorf("encoded again it is %x (%v), want %x", e.Octets(), e.Err(), octets)
	}
}
