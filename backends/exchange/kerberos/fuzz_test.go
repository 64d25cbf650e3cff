package kerberos

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

var george = types.PrincipalName{NameType: nametype.KRB_NT_PRINCIPAL, NameString: []string{"george"}}

// key is one of AES.
var key = types.EncryptionKey{KeyType: etypeID.AES256_CTS_HMAC_SHA1_96, KeyValue: bytes.Repeat([]byte("k"), 32)}

// keyed is a secret with one key.
type keyed struct{ types.EncryptionKey }

func (k keyed) key(types.PrincipalName, string, derivation) (types.EncryptionKey, error) {
	return k.EncryptionKey, nil
}
func (keyed) types(types.PrincipalName, string) []int32 { return strong }

func request(t testing.TB) messages.ASReq {
	t.Helper()
	k, err := New(Config{Realm: "SAKES.EXAMPLE"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := messages.NewASReq("SAKES.EXAMPLE", k.ask, george, types.PrincipalName{NameString: []string{"krbtgt", "SAKES.EXAMPLE"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// encrypted is what a KDC encrypts with the key.
func encrypted(t testing.TB, octets []byte, usage uint32) types.EncryptedData {
	t.Helper()
	data, err := crypto.GetEncryptedData(octets, key, usage, 1)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// reply is one to a request, whose encrypted part is changed by a function.
func reply(t testing.TB, r messages.ASReq, change func(*messages.EncKDCRepPart)) []byte {
	t.Helper()
	part := messages.EncKDCRepPart{Key: key, Nonce: r.ReqBody.Nonce, Flags: types.NewKrbFlags(), SRealm: r.ReqBody.Realm, SName: r.ReqBody.SName}
	change(&part)
	octets, err := part.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	rep := messages.ASRep{KDCRepFields: messages.KDCRepFields{
		PVNO: 5, MsgType: 11, CRealm: r.ReqBody.Realm, CName: george,
		Ticket:  messages.Ticket{TktVNO: 5, Realm: r.ReqBody.Realm, SName: r.ReqBody.SName, EncPart: encrypted(t, []byte("ticket"), 2)},
		EncPart: encrypted(t, octets, keyusage.AS_REP_ENCPART),
	}}
	octets, err = rep.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// TestReplies has what is checked of a KDC's reply.
func TestReplies(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*messages.EncKDCRepPart)
		why    string
	}{
		{"right", func(*messages.EncKDCRepPart) {}, ""},
		{"to another request", func(p *messages.EncKDCRepPart) { p.Nonce++ }, "another request"},
		{"for another service", func(p *messages.EncKDCRepPart) { p.SName = george }, "another service"},
		{"for another realm", func(p *messages.EncKDCRepPart) { p.SRealm = "ELSEWHERE" }, "another service"},
		{"a key of no length", func(p *messages.EncKDCRepPart) { p.Key.KeyValue = []byte("x") }, "has no key"},
		{"a key of no type", func(p *messages.EncKDCRepPart) { p.Key.KeyType = 99 }, "has no key"},
	} {
		r := request(t)
		rep, _, err := readAS(reply(t, r, test.change))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = opened(r, rep, keyed{key}, nil); (err == nil) != (test.why == "") || err != nil && !strings.Contains(err.Error(), test.why) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestDerivation bounds the work that a KDC can ask for.
func TestDerivation(t *testing.T) {
	for _, params := range [][]byte{{}, {0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {0, 4, 0, 1}, {1}} {
		if _, err := Password("sesame").key(george, "SAKES.EXAMPLE", derivation{etypeID.AES256_CTS_HMAC_SHA1_96, "salt", params}); err == nil {
			t.Errorf("parameters of %x are followed", params)
		}
	}
	got, err := Password("password").key(george, "", derivation{etypeID.AES256_CTS_HMAC_SHA1_96, "ATHENA.MIT.EDUraeburn", []byte{0, 0, 4, 0xb0}})
	want := "55a6ac740ad17b4846941051e1e8b0a7548d93b0ab30a8bc3ff16280382b8c2a" // RFC 3962, appendix B
	if err != nil || want != hex.EncodeToString(got.KeyValue) {
		t.Errorf("%x, %v", got.KeyValue, err)
	}
}

// TestStatus finds what Windows tells of an account, in both of its forms (MS-KILE §2.2.1).
func TestStatus(t *testing.T) {
	value := append(binary.LittleEndian.AppendUint32(nil, 0xC0000234), make([]byte, 8)...)
	pair := append([]byte{0x30, 0x15, 0xa1, 0x03, 0x02, 0x01, 0x03, 0xa2, 0x0e, 0x04, 0x0c}, value...)
	for _, data := range [][]byte{pair, append([]byte{0x30, byte(len(pair))}, pair...)} {
		if got := status(data); got != 0xC0000234 {
			t.Errorf("%x: %x", data, got)
		}
	}
	for _, data := range [][]byte{nil, pair[:10], []byte("nonsense")} {
		if got := status(data); got != 0 {
			t.Errorf("%x: %x", data, got)
		}
	}
}

// TestSizeOfReply: what a KDC says of the size of its reply is not believed.
func TestSizeOfReply(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 4))
			_, _ = conn.Write([]byte{0xff, 0xff, 0xff, 0xff})
			_ = conn.Close()
		}
	}()
	k, err := New(Config{Realm: "SAKES.EXAMPLE", KDCs: []string{l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Ticket(t.Context(), "george", Password("x"), "HTTP/x"); err == nil || !strings.Contains(err.Error(), "4294967295 octets") {
		t.Error(err)
	}
}

// FuzzKDC reads anything as a KDC's reply: to both kinds of request, and encrypted with the right key.
func FuzzKDC(f *testing.F) {
	r := request(f)
	f.Add(reply(f, r, func(*messages.EncKDCRepPart) {}))
	e := messages.NewKRBError(george, "SAKES.EXAMPLE", 25, "")
	e.EData = []byte("0")
	octets, err := e.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(octets)
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) == 0 {
			return // send returns none such
		}
		rep, said, err := readAS(octets)
		if err == nil {
			_, _ = opened(r, rep, keyed{key}, nil)
		}
		var data types.PADataSequence
		if data.Unmarshal(said) == nil {
			for _, one := range derivations(data, strong) {
				if len(one.params) == 4 && binary.BigEndian.Uint32(one.params) > 10 {
					one.params = nil // the work is bounded elsewhere
				}
			}
		}
		status(octets)
		_, _ = readTGS(octets, 1, key)
		var part messages.EncKDCRepPart
		_ = part.Unmarshal(octets)
	})
}

// FuzzAnswer reads anything as a server's answer to a login.
func FuzzAnswer(f *testing.F) {
	l := &Login{key: key}
	for _, seed := range []string{"", "\xa1\x07\x30\x05\xa0\x03\x0a\x01\x02", "\x60\x0d\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x02\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		if l.Finish(octets) == nil {
			t.Errorf("%x proves a server", octets)
		}
		_ = Refusal(octets)
	})
}
