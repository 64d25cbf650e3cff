package mapirpc

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/exchange/rop"
)

// emsmdb is the interface of mailboxes, MS-OXCRPC §1.9.
var emsmdb = service{
	Interface: dcerpc.Interface{
		Name: "EMSMDB", UUID: dcerpc.NewUUID(0xa4f1db00, 0xca47, 0x1067, [8]byte{0xb3, 0x1f, 0x00, 0xdd, 0x01, 0x06, 0x62, 0xda}), Minor: 81,
	},
	name: "exchangeMDB", most: 2*buffersMost + 1<<10,
}

// Procedures of EMSMDB, MS-OXCRPC §3.1.4.
const (
	opDisconnect = 1  // EcDoDisconnect
	opConnectEx  = 10 // EcDoConnectEx
	opRPCExt2    = 11 // EcDoRpcExt2
)

// Most octets of buffers, MS-OXCRPC §2.2.1.
const (
	buffersMost   = 0x40000 // BIG_RANGE_ULONG
	auxiliaryMost = 0x1008  // SMALL_RANGE_ULONG
)

// version is that of the client, 15.0.4815.1002 in the form of MS-OXCRPC §3.1.4.1.3: servers give features by it.
var version = [3]uint16{15 << 8, 0x8000 | 4815, 1002}

// Session is a session context for a mailbox store. It is a [rop.Transport].
type Session struct {
	link
	// DisplayName is what the server calls the user, and DNPrefix what its distinguished names begin with.
	DisplayName, DNPrefix string

	dn           string
	capabilities uint32 // of the server
}

var _ rop.Transport = (*Session)(nil)

// Connect makes a session context for the user of a distinguished name, such as
// /o=Sakes/ou=First Administrative Group/cn=Recipients/cn=george. MS-OXCRPC §3.1.4.1.
func Connect(ctx context.Context, c Config, dn string) (*Session, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	s := &Session{dn: dn}
	s.prepare(c, emsmdb, s.enter)
	if err := s.Revive(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Session) enter(ctx context.Context) error {
	r := request{name: "EcDoConnectEx", opnum: opConnectEx, stub: s.connectRequest()}
	return s.do(ctx, r, s.readConnect)
}

// connectRequest writes the parameters of EcDoConnectEx, MS-OXCRPC §3.1.4.1.
func (s *Session) connectRequest() []byte {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(s.dn))
	var w dcerpc.Writer
	w.String(s.dn)
	w.Uint32(
		0,                 // ulFlags
		hash.Sum32(),      // ulConMod
		0,                 // cbLimit
		s.config.CodePage, // ulCpid
		s.config.Locale,   // ulLcidString
		s.config.Locale,   // ulLcidSort
		0xFFFFFFFF,        // ulIcxrLink: with no other session context
	)
	w.Uint16(1) // usFCanConvertCodePages
	for _, part := range version {
		w.Uint16(part)
	}
	w.Uint32(0)             // pulTimeStamp
	w.Array(nil)            // rgbAuxIn
	w.Uint32(0)             // cbAuxIn
	w.Uint32(auxiliaryMost) // pcbAuxOut
	return w.Octets()
}

// readConnect reads the results of EcDoConnectEx up to its return value.
func (s *Session) readConnect(d *dcerpc.Reader) {
	copy(s.handle[:], d.Bytes(len(s.handle)))
	for range 3 {
		d.Uint32() // pcmsPollsMax, pcRetry, pcmsRetryDelay
	}
	d.Uint16() // picxr
	text := func() (text string) {
		if d.Uint32() != 0 {
			text = d.String()
		}
		return text
	}
	s.DNPrefix, s.DisplayName = text(), text()
	for range 6 {
		d.Uint16() // rgwServerVersion, rgwBestVersion
	}
	d.Uint32() // pulTimeStamp
	s.capabilities = rop.Capabilities(octets(d, auxiliaryMost))
}

// octets reads a buffer of no more than so many octets, and its size behind it.
func octets(d *dcerpc.Reader, most int) []byte {
	buffer := d.Bytes(d.Varying(1))
	if size := d.Uint32(); int64(size) != int64(len(buffer)) || len(buffer) > most {
		d.Fail(fmt.Errorf("a buffer of %d octets whose size is said to be %d, and %d at most", len(buffer), size, most))
	}
	return buffer
}

// Packs says whether the server takes several payloads of an upload in one Execute, see [rop.Session.Packs].
func (s *Session) Packs() bool {
	_ = s.turn.Take(context.Background()) // which has no end
	defer s.turn.Pass()
	return s.capabilities&rop.PackedUploads != 0
}

// Execute implements [rop.Transport]. MS-OXCRPC §3.1.4.2. That the server could not execute the requests is a failure with
// the [rop.Code]; one that is [backends.Uncertain] may have been executed.
func (s *Session) Execute(ctx context.Context, flags uint32, requests []byte, most uint32) ([]byte, error) {
	if err := s.turn.Live(ctx); err != nil {
		return nil, err
	}
	defer s.turn.Pass()
	var replies []byte
	r := request{name: "EcDoRpcExt2", opnum: opRPCExt2, stub: s.executeRequest(flags, requests, most), once: true}
	err := s.do(ctx, r, func(d *dcerpc.Reader) {
		copy(s.handle[:], d.Bytes(len(s.handle)))
		d.Uint32() // pulFlags
		replies = octets(d, int(min(most, buffersMost)))
		octets(d, auxiliaryMost)
		d.Uint32() // pulTransTime
	})
	if s.handle == (handle{}) {
		s.turn.Lost = true // the server has ended the session context: a handle that is null says so
	}
	if err != nil {
		return nil, err
	}
	return replies, nil
}

// executeRequest writes the parameters of EcDoRpcExt2, MS-OXCRPC §3.1.4.2.
func (s *Session) executeRequest(flags uint32, requests []byte, most uint32) []byte {
	var w dcerpc.Writer
	w.Bytes(s.handle[:])
	w.Uint32(flags)                  // pulFlags
	w.Array(requests)                // rgbIn
	w.Uint32(uint32(len(requests)))  // cbIn
	w.Uint32(min(most, buffersMost)) // pcbOut
	w.Array(nil)                     // rgbAuxIn
	w.Uint32(0)                      // cbAuxIn
	w.Uint32(auxiliaryMost)          // pcbAuxOut
	return w.Octets()
}

// Disconnect ends the session context and the connection. MS-OXCRPC §3.1.4.3.
func (s *Session) Disconnect(ctx context.Context) error {
	return s.end(ctx, request{name: "EcDoDisconnect", opnum: opDisconnect}, func() []byte { return s.handle[:] })
}

// User is what the server calls the user.
func (s *Session) User() string { return s.DisplayName }

// String says which mailbox it is, without what must not be logged.
func (s *Session) String() string { return fmt.Sprintf("session of %s at %s", s.dn, s.config.Host) }
