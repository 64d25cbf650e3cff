package mapirpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	nspistubs "github.com/oiweiwei/go-msrpc/msrpc/nspi/nspi/v56"
	"github.com/oiweiwei/go-msrpc/msrpc/oxcrpc"
	emsmdbstubs "github.com/oiweiwei/go-msrpc/msrpc/oxcrpc/emsmdb/v0"
	"github.com/oiweiwei/go-msrpc/ndr"

	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/mapi"
)

// stub is one of go-msrpc's, which were generated from the interface definitions in the specifications.
type stub interface {
	MarshalNDR(ctx context.Context, w ndr.Writer) error
	UnmarshalNDR(ctx context.Context, r ndr.Reader) error
}

// theirs is what go-msrpc writes.
func theirs(t *testing.T, s stub) []byte {
	t.Helper()
	w := ndr.NDR20(nil, ndr.DefaultDataRepresentation)
	if err := s.MarshalNDR(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}

var (
	testConfig, _ = Config{Host: "mail.sakes.example", SignIn: NTLM("", "")}.complete()
	testColumns   = []mapi.Tag{mapi.PidTagEmailAddress, mapi.PidTagSmtpAddress, mapi.PidTagAddressBookProxyAddresses}
)

// asked is what an address book sends of a call.
func asked(write func(w *dcerpc.Writer)) []byte {
	var w dcerpc.Writer
	w.Bytes(make([]byte, len(handle{})))
	write(&w)
	return w.Octets()
}

// alike says whether stubs are the same but for the referents of pointers, which are anything but 0.
func alike(ours, theirs []byte) bool {
	if len(ours) != len(theirs) {
		return false
	}
	for i := 0; i+4 <= len(ours); i += 4 {
		pointer := binary.LittleEndian.Uint32(ours[i:])>>8 == 0x000200 && binary.LittleEndian.Uint32(theirs[i:]) != 0
		if !pointer && !bytes.Equal(ours[i:i+4], theirs[i:i+4]) {
			return false
		}
	}
	return bytes.Equal(ours[len(ours)&^3:], theirs[len(ours)&^3:])
}

// TestRequests has go-msrpc read each request, and write it again: the same octets. Its stubs of what has an array of names are wrong:
// they read one name in its place.
func TestRequests(t *testing.T) {
	s := &Session{dn: "/o=Sakes/cn=Recipients/cn=george"}
	s.prepare(testConfig, emsmdb, nil)
	a := &AddressBook{}
	a.prepare(testConfig, nspi, nil)
	for _, test := range []struct {
		name string
		ours []byte
		into stub
	}{
		{"EcDoConnectEx", s.connectRequest(), &emsmdbstubs.DoConnectExRequest{}},
		{"EcDoRpcExt2", s.executeRequest(7, []byte("requests."), 0x10008), &emsmdbstubs.DoRPCExt2Request{}},
		{"EcDoDisconnect", s.handle[:], &emsmdbstubs.DoDisconnectRequest{}},
		{"NspiBind", a.bindRequest(), &nspistubs.BindRequest{}},
		{"NspiUnbind", a.unbindRequest(), &nspistubs.UnbindRequest{}},
		{"NspiQueryRows", asked(a.rowsRequest([]mapihttp.EntryID{16, 17}, testColumns)), &nspistubs.QueryRowsRequest{}},
		{"NspiGetProps", asked(a.propertiesRequest(16, testColumns)), &nspistubs.GetPropertiesRequest{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := ndr.NDR20(bytes.Clone(test.ours), ndr.DefaultDataRepresentation)
			if err := test.into.UnmarshalNDR(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if again := theirs(t, test.into); !alike(test.ours, again) {
				t.Errorf("ours   %x\ntheirs %x", test.ours, again)
			}
		})
	}
}

// TestReplies reads what go-msrpc writes as the replies of a server.
func TestReplies(t *testing.T) {
	s := &Session{}
	aux := []byte("\x00\x00\x04\x00\x08\x00\x08\x00\x08\x00\x01\x46\x01\x00\x00\x00")
	d := dcerpc.NewReader(theirs(t, &emsmdbstubs.DoConnectExResponse{
		Session:  &oxcrpc.Session{Attributes: 5, UUID: &dtyp.GUID{Data1: 7, Data4: make([]byte, 8)}},
		DNPrefix: "/o=Sakes", DisplayName: "George Sakes", AuxOut: aux, AuxOutLength: uint32(len(aux)), Return: 0x3EB,
	}))
	s.readConnect(d)
	if code := d.Uint32(); code != 0x3EB || d.Err() != nil || d.Left() != 0 || s.DNPrefix != "/o=Sakes" || s.DisplayName != "George Sakes" ||
		s.capabilities != 1 || s.handle[0] != 5 || s.handle[4] != 7 {
		t.Errorf("%x, %v, %+v", code, d.Err(), s)
	}
	d = dcerpc.NewReader(theirs(t, &nspistubs.ResolveNamesWResponse{
		MIDs: &nspistubs.PropertyTagArray{ValuesCount: 2, PropertyTag: []uint32{2, 1}},
		Rows: &nspistubs.PropertyRowSet{RowsCount: 1, Row: []*nspistubs.PropertyRow{{ValuesCount: 6, Properties: []*nspistubs.PropertyValue{
			value(mapi.PidTagEmailAddress, &nspistubs.PropertyValueUnion{Value: &nspistubs.PropertyValueUnion_String{String: "/o=Sakes"}}),
			value(mapi.PidTagObjectType, &nspistubs.PropertyValueUnion{Value: &nspistubs.PropertyValueUnion_Int32{Int32: 6}}),
			value(mapi.PidTagSmtpAddress.WithType(mapi.PtypErrorCode), &nspistubs.PropertyValueUnion{Value: &nspistubs.PropertyValueUnion_Error{Error: -2147221233}}),
			value(mapi.PidTagEntryId, &nspistubs.PropertyValueUnion{Value: &nspistubs.PropertyValueUnion_Binary{Binary: &nspistubs.Binary{Length: 3, Value: []byte("abc")}}}),
			value(mapi.PidTagAddressBookProxyAddresses, &nspistubs.PropertyValueUnion{Value: &nspistubs.PropertyValueUnion_StringArray{
				StringArray: &nspistubs.StringArray{ValuesCount: 2, Values: []string{"SMTP:a@b", "smtp:c@d"}},
			}}),
			value(mapi.PidTagCreationTime, &nspistubs.PropertyValueUnion{Value: &nspistubs.PropertyValueUnion_DateTime{DateTime: &dtyp.Filetime{LowDateTime: 1, HighDateTime: 2}}}),
		}}}},
	}))
	ids := readIDs(d)
	columns := append(testColumns[:1:1], mapi.PidTagObjectType, mapi.PidTagSmtpAddress, mapi.PidTagEntryId, mapi.PidTagAddressBookProxyAddresses, mapi.PidTagCreationTime)
	rows := readRows(d, columns)
	if code := d.Uint32(); code != 0 || d.Err() != nil || d.Left() != 0 || len(ids) != 2 || ids[0] != mapihttp.Resolved || len(rows) != 1 {
		t.Fatal(ids, rows, d.Err(), d.Left())
	}
	for i, want := range []mapi.Value{mapi.String("/o=Sakes"), mapi.Integer32(6), mapi.ErrorCode(0x8004010F), nil, nil, mapi.Time(2<<32 | 1)} {
		if want != nil && rows[0][i] != want {
			t.Errorf("%v: %v, want %v", columns[i], rows[0][i], want)
		}
	}
	proxies, ok := rows[0][4].(mapi.Multiple[mapi.String])
	if b, _ := rows[0][3].(mapi.Binary); string(b) != "abc" || !ok || strings.Join([]string{string(proxies[0]), string(proxies[1])}, " ") != "SMTP:a@b smtp:c@d" {
		t.Error(rows[0])
	}
}

// value is a PropertyValue_r of go-msrpc's.
func value(tag mapi.Tag, v *nspistubs.PropertyValueUnion) *nspistubs.PropertyValue {
	return &nspistubs.PropertyValue{PropertyTag: uint32(tag), Value: v}
}

// FuzzReplies reads anything as the replies of a server.
func FuzzReplies(f *testing.F) {
	seed := dcerpc.Writer{}
	seed.Uint32(1, 1, 1, 0, 6, 1, 6)
	for _, kind := range []mapi.Type{mapi.PtypString, mapi.PtypInteger32, mapi.PtypErrorCode, mapi.PtypBinary, mapi.PtypMultipleString, mapi.PtypTime} {
		seed.Uint32(0x30010000|uint32(kind), 0, uint32(kind), 1, 1)
	}
	f.Add(seed.Octets())
	f.Fuzz(func(t *testing.T, octets []byte) {
		for n := range 4 {
			if rows := readRows(dcerpc.NewReader(octets), make([]mapi.Tag, n)); len(rows) > len(octets) {
				t.Error("rows of nothing")
			}
		}
		columns := []mapi.Tag{mapi.PidTagDisplayName, mapi.PidTagDisplayName, mapi.PidTagDisplayName}
		readRow(dcerpc.NewReader(octets), columns)
		readRows(dcerpc.NewReader(octets), columns)
		readIDs(dcerpc.NewReader(octets))
		(&Session{}).readConnect(dcerpc.NewReader(octets))
	})
}
