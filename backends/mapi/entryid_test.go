package mapi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// bags calls f with all properties of a recorded message, its recipients, and the messages in it.
func (r *recorded) bags(t testing.TB, f func(*Properties)) {
	t.Helper()
	bag := func(lists ...[]recordedProperty) {
		p := &Properties{}
		for _, list := range lists {
			for _, one := range list {
				if property, err := one.property(); err == nil && one.Via == "" {
					p.Put(property)
				}
			}
		}
		f(p)
	}
	bag(r.Properties, r.Others)
	for _, recipient := range r.Recipients {
		bag(recipient.Properties)
	}
	for _, a := range r.Attachments {
		if a.Embedded != nil {
			a.Embedded.bags(t, f)
		}
	}
}

// TestRecordedIdentifiers takes apart every identifier that a server made, and puts it together again.
func TestRecordedIdentifiers(t *testing.T) {
	found := map[string]int{}
	for _, file := range recordings(t) {
		load(t, file).bags(t, func(p *Properties) {
			for property := range p.All() {
				name, octets := property.Tag.Name(), p.Bytes(property.Key())
				switch {
				case octets == nil:
				case strings.HasSuffix(name, "EntryId"):
					id, err := ParseEntryID(octets, 1252)
					checkAgain(t, name, octets, id, err)
					found["entry id"]++
				case name == "PidTagSourceKey" || name == "PidTagChangeKey":
					x, err := ParseXID(octets)
					checkAgain(t, name, octets, x, err)
					found["XID"]++
				case name == "PidTagPredecessorChangeList":
					list, err := ParseChangeList(octets)
					again, errAgain := NewChangeList(list)
					if err != nil || errAgain != nil || !bytes.Equal(again, octets) {
						t.Errorf("%x: %v, %v, %v", octets, list, err, errAgain)
					}
					found["change list"]++
				case name == "PidTagConversationIndex":
					index, err := ParseConversationIndex(octets)
					checkAgain(t, name, octets, index, err)
					found["conversation index"]++
				}
			}
			checkAddresses(t, p, found)
		})
	}
	for what, least := range map[string]int{"entry id": 200, "XID": 60, "change list": 30, "conversation index": 30, "address": 100, "conversation id": 30} {
		if found[what] < least {
			t.Errorf("%d of %s, want %d", found[what], what, least)
		}
	}
}

func checkAgain(t *testing.T, name string, octets []byte, id EntryID, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s %x: %v", name, octets, err)
	} else if again := id.AppendTo(nil); !bytes.Equal(again, octets) {
		t.Errorf("%s %x came back as %x", name, octets, again)
	}
}

// checkAddresses compares search keys and conversation ids with those that the server computed.
func checkAddresses(t *testing.T, p *Properties, found map[string]int) {
	t.Helper()
	for _, tags := range []AddressTags{SenderAddress, SentRepresentingAddress, ReceivedByAddress, ReceivedRepresentingAddress} {
		a, ok := p.Address(tags)
		if !ok || !p.Has(tags.SearchKey) {
			continue
		}
		if got := SearchKey(a.Type, a.Address); !bytes.Equal(got, p.Bytes(tags.SearchKey)) {
			t.Errorf("the search key of %+v is %q, want %q", a, got, p.Bytes(tags.SearchKey))
		}
		found["address"]++
	}
	if p.Has(PidTagConversationId) {
		if got, want := ConversationID(p), p.Bytes(PidTagConversationId); !bytes.Equal(got, want) {
			t.Errorf("the conversation is %x, want %x", got, want)
		}
		found["conversation id"]++
	}
}

func TestEntryIDs(t *testing.T) {
	folder := LongTermID{PSMapi, Counter{0, 0, 0, 0, 1, 2}}
	message := LongTermID{PSMapi, Counter{0, 0, 0, 0, 0xa, 0xb}}
	for name, id := range map[string]EntryID{
		"folder":              FolderEntryID{PublicProvider, EntryPublicFolder, folder},
		"message":             MessageEntryID{PSETIDLog, EntryPrivateMessage, folder, message},
		"one-off":             OneOffEntryID{OneOffUnicode | OneOffMIME | OneOffTextAndHTML, "Ü 💡", "SMTP", "a@b.example", 0},
		"one-off of octets":   OneOffEntryID{OneOffNoLookup, "Ü", "SMTP", "a@b.example", 1252},
		"address book":        AddressBookEntryID{AddressBookList, "/o=A/cn=b"},
		"address of contact":  ContactEntryID{ContactAddress, 1, []byte{1, 2, 3}},
		"list of the contact": ContactEntryID{ContactList, 0xff, []byte{1}},
	} {
		octets := id.AppendTo(nil)
		if got, err := ParseEntryID(octets, 1252); err != nil || !cmp.Equal(got, id) {
			t.Errorf("%s: %x is %#v, %v", name, octets, got, err)
		}
		for n := range octets {
			if got, err := ParseEntryID(octets[:n], 1252); err == nil {
				t.Errorf("%s: %x is %#v", name, octets[:n], got)
			}
		}
	}
	got, err := ParseEntryID(OneOffEntryID{0, "💡", "SMTP", "a@b", 1252}.AppendTo(nil), 1252)
	if want := (OneOffEntryID{OneOffUnicode, "💡", "SMTP", "a@b", 0}); err != nil || got != want {
		t.Errorf("a name that the code page lacks: %#v, %v", got, err)
	}
	for _, octets := range []string{"00000000" + strings.Repeat("11", 16) + "ff00", "00000000812b1fa4bea310199d6e00dd010f54020100", ""} {
		raw, _ := hex.DecodeString(octets)
		if id, err := ParseEntryID(raw, 0); err == nil {
			t.Errorf("%s is %#v", octets, id)
		}
	}
	raw, _ := hex.DecodeString("00000000" + strings.Repeat("11", 16) + "ff00")
	if _, err := ParseEntryID(raw, 0); !errors.Is(err, ErrEntryID) {
		t.Errorf("an unknown provider: %v", err)
	}
	padded := append(ContactEntryID{ContactAddress, 1, []byte{9}}.AppendTo(nil), 0, 0, 0)
	if id, err := ParseEntryID(padded, 0); err != nil || !cmp.Equal(id, ContactEntryID{ContactAddress, 1, []byte{9}}) {
		t.Errorf("with three octets more it is %#v, %v", id, err)
	}
}

// TestOneOffOctets has a one-off entry id octet by octet, MS-OXCDATA §2.2.5.1.
func TestOneOffOctets(t *testing.T) {
	id := OneOffEntryID{Flags: OneOffUnicode | OneOffMIME, DisplayName: "A", AddressType: "SMTP", Address: "a@b"}
	want := "00000000" + "812b1fa4bea310199d6e00dd010f5402" + "0000" + "0180" + "41000000" + "53004d00540050000000" + "6100400062000000"
	if got := hex.EncodeToString(id.AppendTo(nil)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestEntryLists(t *testing.T) {
	entries := [][]byte{{1, 2, 3}, {4}, {}, {5, 6, 7, 8, 9}}
	list, err := NewEntryList(entries)
	if want := "04000000" + "1d000000" + "0300000001020300" + "0100000004000000" + "00000000" + "050000000506070809"; err != nil || hex.EncodeToString(list) != want {
		t.Errorf("%x, %v; want %s", list, err, want)
	}
	if got, err := ParseEntryList(list); err != nil || !cmp.Equal(got, entries) {
		t.Errorf("%x, %v", got, err)
	}
	for _, octets := range []string{"ffffffff00000000", "0100000004000000ffffffff", "010000000400000005000000", "01", "0000000005000000"} {
		raw, _ := hex.DecodeString(octets)
		if got, err := ParseEntryList(raw); err == nil {
			t.Errorf("%s is %x", octets, got)
		}
	}
}

func TestXIDs(t *testing.T) {
	id := LongTermID{PSMapi, Counter{0, 0, 0, 1, 2, 3}}
	if got, ok := id.XID().LongTermID(); !ok || got != id {
		t.Errorf("%v, %v", got, ok)
	}
	x, err := ParseXID([]byte("0123456789abcdefLOCALID8"))
	if _, ok := x.LongTermID(); err != nil || ok {
		t.Errorf("%v, %v", x, err)
	}
	for _, octets := range []string{"", "0123456789abcdef", strings.Repeat("x", 256)} {
		if x, err := ParseXID([]byte(octets)); err == nil {
			t.Errorf("%q is %v", octets, x)
		}
	}
	for _, octets := range []string{"\xff0123456789abcdef1", "\x000", "\x050123456789abcdef1"} {
		if list, err := ParseChangeList([]byte(octets)); err == nil {
			t.Errorf("%q is %v", octets, list)
		}
	}
	if list, err := NewChangeList([]XID{{LocalID: strings.Repeat("x", 250)}}); err == nil {
		t.Errorf("%x", list)
	}
	mid := Integer64(0x0f00030000000001)
	if got := mid.ObjectID(); got != (ObjectID{1, Counter{0, 0, 0, 3, 0, 0xf}}) || got.Integer() != mid {
		t.Errorf("%v", got)
	}
}

func TestServerIDs(t *testing.T) {
	entry := ServerEntry{ObjectID{1, Counter{5: 1}}, ObjectID{2, Counter{5: 7}}, 3}
	octets := entry.ServerID()
	if want := "01" + "0100000000000001" + "0200000000000007" + "03000000"; hex.EncodeToString(octets) != want {
		t.Errorf("%x, want %s", octets, want)
	}
	if got, ok := ParseServerID(octets); !ok || got != entry {
		t.Errorf("%v, %v", got, ok)
	}
	for _, other := range []ServerID{nil, {0, 1, 2}, octets[:20], append(octets[:21:21], 1)} {
		if got, ok := ParseServerID(other); ok {
			t.Errorf("%x is %v", other, got)
		}
	}
}

func TestConversationIndex(t *testing.T) {
	begun := NewTime(time.Date(2026, 11, 12, 9, 5, 7, 0, time.UTC))
	first := ConversationIndex{Begun: begun &^ 0xFFFF, ID: PSETIDMeeting}
	octets := first.AppendTo(nil)
	if want := "01dd7284"; hex.EncodeToString(octets[:4]) != want || len(octets) != 22 {
		t.Errorf("%x", octets)
	}
	if want := "6ed8da90450b101b98da00aa003f1305"; hex.EncodeToString(octets[6:]) != want {
		t.Errorf("%x", octets[6:])
	}
	second := first.Reply(begun.Time().Add(time.Hour), 5)
	third := second.Reply(begun.Time().AddDate(3, 0, 0), 6)
	got, err := ParseConversationIndex(third.AppendTo(nil))
	if err != nil || got.Begun != first.Begun || got.ID != first.ID || len(got.Responses) != 2 || len(second.Responses) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, step := range []time.Duration{27 * time.Millisecond, time.Second} {
		if off := third.Responses[i].After - got.Responses[i].After; off < 0 || off > step || got.Responses[i].Random != third.Responses[i].Random {
			t.Errorf("response %d is off by %v: %+v", i, off, got.Responses[i])
		}
	}
	// As the section itself has it, without what Exchange and Outlook do.
	literal, _ := hex.DecodeString("01" + "01dd7284e9" + "6ed8da90450b101b98da00aa003f1305")
	if got, err := ParseConversationIndex(literal); err != nil || got.Begun != begun&^0xFFFFFF {
		t.Errorf("%v, %v", got.Begun, err)
	}
	for _, octets := range [][]byte{nil, make([]byte, 22), append([]byte{1}, make([]byte, 20)...), append([]byte{1}, make([]byte, 23)...)} {
		if got, err := ParseConversationIndex(octets); err == nil {
			t.Errorf("%x is %v", octets, got)
		}
	}
}

func TestConversationIDOfATopic(t *testing.T) {
	var p Properties
	if id := ConversationID(&p); id != nil {
		t.Errorf("%x", id)
	}
	p.Set(PidTagConversationTopic, String("Meeting"))
	p.Set(PidTagConversationIndex, Binary("\x01 and no tracking"))
	// The MD5 of "MEETING" as UTF-16LE.
	if got, want := hex.EncodeToString(ConversationID(&p)), "6e562bcb49489b4eeb13b9392f1d6614"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	id := ConversationID(&p)
	p.Set(PidTagConversationTopic, String("mEETING"))
	if again := ConversationID(&p); !bytes.Equal(id, again) {
		t.Errorf("another case is another conversation: %x, %x", id, again)
	}
	p.Set(PidTagConversationTopic, String("MEETING "))
	if other := ConversationID(&p); bytes.Equal(id, other) {
		t.Error("another topic is the same conversation")
	}
	long := strings.Repeat("é", 255)
	p.Set(PidTagConversationTopic, String(long+"one"))
	id = ConversationID(&p)
	p.Set(PidTagConversationTopic, String(long+"other"))
	if again := ConversationID(&p); !bytes.Equal(id, again) {
		t.Error("more than 255 characters count")
	}
}

func TestAddresses(t *testing.T) {
	for _, want := range []Address{
		{Name: "Änne", Type: "SMTP", Address: "a@b.example", SMTP: "a@b.example"},
		{Name: "Bert", Type: "EX", Address: "/o=A/cn=bert", SMTP: "bert@b.example"},
		{Name: "", Type: "FAX", Address: "+49 1"},
	} {
		var r Recipient
		r.SetAddress(RecipientAddress, want)
		if got, ok := r.Address(RecipientAddress); !ok || got != want {
			t.Errorf("%+v came back as %+v, %v", want, got, ok)
		}
		r.Delete(PidTagDisplayName, PidTagAddressType, PidTagEmailAddress)
		got, ok := r.Address(RecipientAddress) // by the entry id
		if !ok || got.Type != want.Type || got.Address != want.Address || got.SMTP != want.SMTP || want.Type == "SMTP" && got.Name != want.Name {
			t.Errorf("by its entry id %+v is %+v, %v", want, got, ok)
		}
	}
	var p Properties
	if a, ok := p.Address(SenderAddress); ok {
		t.Errorf("nobody is %+v", a)
	}
	p.Set(PidTagSenderEntryId, Binary("nonsense"))
	if a, ok := p.Address(SenderAddress); ok {
		t.Errorf("nonsense is %+v", a)
	}
	if kind, address, ok := ParseSearchKey(SearchKey("smtp", "a@b.example")); !ok || kind != "SMTP" || address != "A@B.EXAMPLE" {
		t.Errorf("%s %s %v", kind, address, ok)
	}
	if _, _, ok := ParseSearchKey([]byte{1, 2, 3}); ok {
		t.Error("octets are a search key")
	}
}

func TestOneOffRoundTrip(t *testing.T) {
	text := rapid.StringMatching(`[^\x00]{0,20}`)
	rapid.Check(t, func(t *rapid.T) {
		id := OneOffEntryID{rapid.Uint16().Draw(t, "flags"), text.Draw(t, "name"), text.Draw(t, "type"), text.Draw(t, "address"), 1252}
		got, err := ParseEntryID(id.AppendTo(nil), 1252)
		back, ok := got.(OneOffEntryID)
		if err != nil || !ok || back.DisplayName != id.DisplayName || back.Address != id.Address || back.AddressType != id.AddressType {
			t.Fatalf("%+v came back as %+v, %v", id, got, err)
		}
	})
}

func FuzzEntryID(f *testing.F) {
	for _, file := range recordings(f) {
		load(f, file).bags(f, func(p *Properties) {
			for property := range p.All() {
				if name := property.Tag.Name(); strings.HasSuffix(name, "EntryId") || strings.HasSuffix(name, "List") {
					f.Add(p.Bytes(property.Key()))
				}
			}
		})
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		if id, err := ParseEntryID(octets, 1252); err == nil {
			again, err := ParseEntryID(id.AppendTo(nil), 1252)
			if err != nil {
				t.Fatalf("%#v came back as %#v, %v", id, again, err)
			}
		}
		if list, err := ParseChangeList(octets); err == nil {
			if again, err := NewChangeList(list); err != nil || !bytes.Equal(again, octets) {
				t.Fatalf("%x came back as %x, %v", octets, again, err)
			}
		}
		if list, err := ParseEntryList(octets); err == nil {
			again, err := NewEntryList(list)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseEntryList(again); err != nil || !cmp.Equal(back, list) {
				t.Fatalf("%x came back as %x, %v", list, back, err)
			}
		}
		if c, err := ParseConversationIndex(octets); err == nil {
			if back, err := ParseConversationIndex(c.AppendTo(nil)); err != nil || !cmp.Equal(back.Responses, c.Responses) {
				t.Fatalf("%v came back as %v, %v", c, back, err)
			}
		}
	})
}
