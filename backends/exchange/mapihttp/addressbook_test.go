package mapihttp

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

// people are the columns that were recorded.
var people = []mapi.Tag{
	mapi.PidTagDisplayName, mapi.PidTagEmailAddress, mapi.PidTagSmtpAddress, mapi.PidTagAccount, mapi.PidTagDisplayType,
	mapi.PidTagObjectType, mapi.PidTagAddressType, mapi.PidTagEntryId, mapi.PidTagAddressBookProxyAddresses,
}

const georgesName = "/o=Gromox default/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=0100000001000000-george"

// book answers what was recorded to each kind of request, and compares the requests octet for octet.
func book(t *testing.T, exchanges map[string]exchange) Config {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		x, ok := exchanges[r.Header.Get("X-RequestType")]
		if !ok {
			t.Errorf("%s was not recorded", r.Header.Get("X-RequestType"))
			return
		}
		if hex.EncodeToString(body) != x.Request.Body {
			t.Errorf("%s: %x, want %s", x.Name, body, x.Request.Body)
		}
		x.answer(t, w)
	})
	c.URL = strings.Replace(c.URL, "emsmdb", "nspi", 1)
	return c
}

func TestRecordedAddressBook(t *testing.T) {
	all := recorded(t, "../nspi/01-nspi-over-mapi-http.json")
	exchanges := map[string]exchange{"Bind": all[2], "ResolveNames": all[3], "DNToMId": all[4], "QueryRows": all[8], "Unbind": all[17]}
	rowCount := 2 * (4 + 1 + stateSize + 4 + 4) // digits before it: as many as there are ids here, and 10 in the recording
	rows := exchanges["QueryRows"]
	rows.Request.Body = rows.Request.Body[:rowCount] + "01" + rows.Request.Body[rowCount+2:]
	exchanges["QueryRows"] = rows
	a, err := Bind(t.Context(), book(t, exchanges))
	if err != nil || a.Server.String() != "{0d7220f1-938e-4f31-93c6-0c5bdd99fbff}" {
		t.Fatal(a, err)
	}
	chrisName := strings.Replace(georgesName, "0100000001000000-george", "0100000002000000-chris", 1)
	found, err := a.Resolve(t.Context(), []string{
		"=SMTP:george@sakes.example", "chris", "nobody", "zzz-unknown", "sakes", "george@sakes.example", "smtp:chris@sakes.example", chrisName,
	}, people)
	if err != nil {
		t.Fatal(err)
	}
	george, chris := mapi.Value(mapi.String("george@sakes.example")), mapi.Value(mapi.String("chris@sakes.example"))
	for i, want := range []mapi.Value{george, chris, nil, nil, nil, george, chris, chris} {
		if want == nil && (found[i].Outcome != Ambiguous || found[i].Values != nil) || want != nil && found[i].Values[2] != want {
			t.Errorf("%d: %v", i, found[i])
		}
	}
	if dn := found[0].Values[1]; dn != mapi.String(georgesName) {
		t.Error(dn)
	}
	ids, err := a.IDs(t.Context(), []string{georgesName, chrisName, "/o=nowhere/cn=x"})
	if err != nil || ids[0] == NotResolved || ids[1] == NotResolved || ids[2] != NotResolved {
		t.Fatal(ids, err)
	}
	entries, err := a.Rows(t.Context(), ids[1:2], people)
	if err != nil || len(entries) != 1 || entries[0][2] != chris {
		t.Fatal(entries, err)
	}
	if proxies, ok := entries[0][8].(mapi.Multiple[mapi.String]); !ok || len(proxies) != 1 || proxies[0] != "SMTP:chris@sakes.example" {
		t.Error(entries[0][8])
	}
	if err := a.Unbind(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := a.IDs(t.Context(), []string{georgesName}); !errors.Is(err, rop.ErrLost) {
		t.Error(err)
	}
}

// TestAddressBookFailures has replies of a server that does not keep to the protocol, or has nothing to say.
func TestAddressBookFailures(t *testing.T) {
	const ok = "\x00\x00\x00\x00\x00\x00\x00\x00"
	const none = "\x00\x00\x00\x00" // of an auxiliary buffer, or a code page
	const one, id = "\x01\x00\x00\x00", "\x02\x00\x00\x00"
	for _, test := range []struct {
		name, reply string
		code        error
	}{
		{"an error", "\x00\x00\x00\x00\x05\x00\x07\x80" + none, rop.AccessDenied},
		{"no outcome", ok + none + "\x00\x00" + none, nil},
		{"no entry", ok + none + "\xff" + one + id + "\x00" + none, nil},
		{"a row too many", ok + none + "\xff" + one + none + "\xff" + none + one + "\x00" + none, nil},
		{"a flag of a row", ok + none + "\xff" + one + id + "\xff" + none + one + "\x07" + none, nil},
		{"a flag of a value", ok + none + "\xff" + one + id + "\xff" + one + "\x03\x00\x00\x39" + one + "\x01\x07" + none, nil},
		{"a type that has no value", ok + none + "\xff" + one + id + "\xff" + one + "\x0d\x00\x00\x39" + one + "\x00\xff" + none, nil},
		{"counts that lie", ok + none + "\xff\xff\xff\xff\xff", nil},
		{"columns that lie", ok + none + "\xff" + one + id + "\xff\xff\xff\xff\xff", nil},
		{"rows that lie", ok + none + "\xff" + one + id + "\xff" + none + "\xff\xff\xff\xff", nil},
		{"cut short", ok + none, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if w.Header().Set("X-ResponseCode", "0"); r.Header.Get("X-RequestType") == "Bind" {
					_, _ = io.WriteString(w, success+ok+strings.Repeat("g", 16)+none)
					return
				}
				_, _ = io.WriteString(w, success+test.reply)
			})
			a, err := Bind(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(a.Close)
			found, err := a.Resolve(t.Context(), []string{"george"}, []mapi.Tag{mapi.PidTagDisplayType})
			if kindOf(err) == 0 || kindOf(err) == backends.NotFound || test.code != nil && !errors.Is(err, test.code) {
				t.Errorf("%v, %v", found, err)
			}
		})
	}
}

// TestAddressBookValues reads what is missing, and what is an error.
func TestAddressBookValues(t *testing.T) {
	columns := []mapi.Tag{mapi.PidTagDisplayName, mapi.PidTagEmailAddress, mapi.PidTagDisplayType, mapi.PidTagAddressBookProxyAddresses, mapi.PidTagAccount}
	octets := "01" + "00ff61000000" + "01" + "0a0f010480" + "00ff02000000" + "ff62000000" + "00" + "0000"
	raw, err := hex.DecodeString(octets)
	if err != nil {
		t.Fatal(err)
	}
	d := mapi.NewDecoder(raw, mapi.Format{Wide: true})
	row, err := readRow(d, columns)
	if err != nil || d.Err() != nil || d.Left() != 0 {
		t.Fatal(row, err, d.Err(), d.Left())
	}
	proxies, _ := row[3].(mapi.Multiple[mapi.String])
	if row[0] != mapi.String("a") || row[1] != nil || row[2] != mapi.ErrorCode(0x8004010F) || len(proxies) != 1 || proxies[0] != "b" || row[4] != nil {
		t.Error(row)
	}
}
