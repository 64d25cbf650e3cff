package fasttransfer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends/mapi"
)

// recorded is one of testdata/fx-*.json.
type recorded struct {
	Size    int    `json:"stream_size"`
	Stream  string `json:"stream_hex"`
	Decoded []struct {
		Offset int64           `json:"o"`
		Size   int64           `json:"n"`
		Field  string          `json:"f"`
		Value  json.RawMessage `json:"v"`
		Remark string          `json:"d"`
	}
}

func load(t testing.TB, file string) (recorded, []byte) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r recorded
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	octets, err := hex.DecodeString(r.Stream)
	if err != nil || len(octets) != r.Size {
		t.Fatal(len(octets), err)
	}
	return r, octets
}

func recordings(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/fx-*.json")
	if err != nil || len(files) != 5 {
		t.Fatal(files, err)
	}
	return files
}

// TestRecordedElements compares each element of the streams with what the recorder read in it, at its offset.
func TestRecordedElements(t *testing.T) {
	for _, file := range recordings(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r, octets := load(t, file)
			s := NewScanner(bytes.NewReader(octets), Options{})
			for _, want := range r.Decoded {
				if s.Offset() != want.Offset || !s.Scan() {
					t.Fatalf("octet %d, want %d: %v", s.Offset(), want.Offset, s.Err())
				}
				if s.Offset() != want.Offset+want.Size {
					t.Errorf("%s ends at %d, want %d", want.Field, s.Offset(), want.Offset+want.Size)
				}
				if want.Field == "marker" {
					if got := s.Marker().Name(); `"`+strings.TrimPrefix(got, "PidTag")+`"` != string(want.Value) {
						t.Errorf("octet %d is the marker %s, want %s", want.Offset, got, want.Value)
					}
					continue
				}
				checkElement(t, s.Property(), want.Field, want.Value, want.Remark)
			}
			if s.Scan() || s.Err() != nil {
				t.Errorf("%v is left: %v", s.Property(), s.Err())
			}
		})
	}
}

// checkElement compares a property. Of long values the recorder gave the first octets, and it shortened times.
func checkElement(t *testing.T, p mapi.Property, field string, value json.RawMessage, remark string) {
	t.Helper()
	number, _, _ := strings.Cut(field, " ")
	if got := fmt.Sprintf("0x%08x", uint32(p.Tag)); got != number {
		t.Errorf("%s, want %s", got, field)
	}
	got := ""
	switch v := p.Value.(type) {
	case mapi.Binary:
		got = `"` + hex.EncodeToString(v)
		got = got[:min(len(got), 40)]
		value = value[:min(len(value), len(got))]
	case mapi.Time:
		got, value = `"`+v.String()[:19], value[:20]
	case mapi.String8:
		got = asJSON(t, v.Text())
	default:
		got = asJSON(t, v)
	}
	want := strings.ReplaceAll(string(value), `", "`, `","`)
	if begin, _, cut := strings.Cut(want, "... ("); cut {
		got, want = got[:min(len(got), len(begin))], begin
	}
	if got != want {
		t.Errorf("%s: %s, want %s", p, got, want)
	}
	if remark != "" {
		var named struct{ GUID, LID, Name string }
		if err := json.Unmarshal([]byte(remark), &named); err != nil {
			return
		}
		if strings.Trim(p.Named.Set.String(), "{}") != named.GUID || p.Named.Name != named.Name {
			t.Errorf("%+v, want %s", p.Named, remark)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// TestRecordedMessages reads the messages in the streams, writes them, and reads them again.
func TestRecordedMessages(t *testing.T) {
	want := map[string][]string{
		"fx-copyprops":          {"Meeting: harbour council"},
		"fx-copyto-05":          {"Alternative: text and HTML, 1 recipients"},
		"fx-copyto-05-excluded": {"Alternative: text and HTML"},
		"fx-copyto-08":          {"Fwd: the original, 1 recipients [Das Original – №1, 2 recipients (64 octets) [third level]]"},
		"fx-copymessages":       {"Inline image by Content-ID, 1 recipients (463 octets)", "Urgent and private, 1 recipients"},
	}
	for _, file := range recordings(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			_, octets := load(t, file)
			messages := readAll(t, octets, Options{})
			var got []string
			for _, m := range messages {
				got = append(got, outline(m))
			}
			if diff := cmp.Diff(want[name], got); diff != "" {
				t.Error(diff)
			}
			again := readAll(t, written(t, messages), Options{})
			if diff := cmp.Diff(dumps(t, messages), dumps(t, again)); diff != "" {
				t.Errorf("written and read again: %s", diff)
			}
		})
	}
}

func readAll(t testing.TB, octets []byte, o Options) []*mapi.Message {
	t.Helper()
	r := NewReader(bytes.NewReader(octets), o)
	var messages []*mapi.Message
	for {
		m, err := r.Message()
		if errors.Is(err, io.EOF) && m == nil {
			return messages
		}
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
}

func written(t testing.TB, messages []*mapi.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, m := range messages {
		if err := w.Message(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dumps(t testing.TB, messages []*mapi.Message) []string {
	t.Helper()
	var all []string
	for _, m := range messages {
		var b strings.Builder
		if err := mapi.WriteDump(&b, m); err != nil {
			t.Fatal(err)
		}
		all = append(all, b.String())
	}
	return all
}

// outline is a message in a line.
func outline(m *mapi.Message) string {
	line := m.Text(mapi.PidTagSubject)
	if len(m.Recipients) > 0 {
		line += fmt.Sprintf(", %d recipients", len(m.Recipients))
	}
	for _, a := range m.Attachments {
		if !a.Data.IsZero() {
			line += fmt.Sprintf(" (%d octets)", a.Data.Size)
		}
		if a.Embedded != nil {
			line += " [" + outline(a.Embedded) + "]"
		}
	}
	return line
}

// TestSynchronisation is the state of an empty folder, as a server sent it.
func TestSynchronisation(t *testing.T) {
	octets, err := hex.DecodeString("03003a40030017400000000002019667000000000201da67000000000201d2670000000003003b4003001440")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	s := NewScanner(bytes.NewReader(octets), Options{})
	for s.Scan() {
		if s.Marker() != 0 {
			got = append(got, s.Marker().Name())
		} else {
			got = append(got, fmt.Sprintf("%08x %v", uint32(s.Property().Tag), s.Property().Value))
		}
	}
	want := []string{"PidTagIncrSyncStateBegin", "40170102 []", "67960102 []", "67da0102 []", "67d20102 []", "PidTagIncrSyncStateEnd", "PidTagIncrSyncEnd"}
	if diff := cmp.Diff(want, got); diff != "" || s.Err() != nil {
		t.Errorf("%v %s", s.Err(), diff)
	}
}
