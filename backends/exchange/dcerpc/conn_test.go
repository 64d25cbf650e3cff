package dcerpc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// weak signs and seals so that a test can do it as well.
type weak struct{ tokens int }

func (*weak) Method() uint8      { return MethodNTLM }
func (*weak) SignatureSize() int { return 16 }
func (*weak) SignHeaders(bool)   {}

func (w *weak) Next(token []byte) ([]byte, error) {
	w.tokens++
	if w.tokens == 2 && string(token) != "challenge" {
		return nil, errors.New("another challenge")
	}
	return []byte("token"), nil
}

func (*weak) Seal(octets []byte, from, to int) ([]byte, error) {
	sum := sha256.Sum256(octets)
	for i := from; i < to; i++ {
		octets[i] ^= 0x55
	}
	return sum[:16], nil
}

func (*weak) Unseal(octets []byte, from, to int, signature []byte) error {
	for i := from; i < to; i++ {
		octets[i] ^= 0x55
	}
	if sum := sha256.Sum256(octets); !bytes.Equal(sum[:16], signature) {
		return errors.New("the signature is wrong")
	}
	return nil
}

var anything = Interface{Name: "anything", UUID: UUID{1}, Major: 1}

// bindAck is the answer to a bind that takes it.
func bindAck(call uint32, auth *trailer) []byte {
	body := binary.LittleEndian.AppendUint16([]byte{0xd0, 0x16, 0xd0, 0x16, 1, 0, 0, 0}, 4)
	body = append(body, "135\x00\x00\x00"...)
	body = ndr.append(append(body, 1, 0, 0, 0, 0, 0, 0, 0))
	return (&pdu{kind: kindBindAck, flags: flagFirst | flagLast, call: call, body: body, auth: auth}).encode()
}

func challenge() *trailer {
	return &trailer{method: MethodNTLM, level: levelPrivacy, context: securityContext, value: []byte("challenge")}
}

// answer is a fragment of a response, sealed.
func answer(call uint32, flags uint8, stub string) []byte {
	return sealedPDU(&pdu{kind: kindResponse, flags: flags, call: call, body: append(make([]byte, callSize), stub...)})
}

func sealedPDU(p *pdu) []byte {
	pad := -(len(p.body) - callSize) & 15
	p.body = append(p.body, make([]byte, pad)...)
	p.auth = &trailer{method: MethodNTLM, level: levelPrivacy, pad: uint8(pad), context: securityContext, value: make([]byte, 16)}
	octets := p.encode()
	signed := octets[:len(octets)-16]
	signature, _ := (&weak{}).Seal(signed, headerSize+callSize, len(signed)-trailerSize)
	copy(octets[len(signed):], signature)
	return octets
}

// server answers one connection: a bind, and then each request with the next of the answers.
func server(t *testing.T, bind []byte, answers ...[]byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for _, one := range append([][]byte{bind}, answers...) {
			for {
				p, err := readPDU(conn)
				if err != nil {
					return
				}
				if p.kind == kindBind || p.kind == kindRequest && p.flags&flagLast != 0 {
					break
				}
			}
			if _, err := conn.Write(one); err != nil {
				return
			}
		}
		if len(answers) > 0 {
			return // which ends the connection
		}
		_, _ = io.Copy(io.Discard, conn)
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().String()
}

func readPDU(conn net.Conn) (*pdu, error) {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(conn, header); err != nil {
		return nil, err
	}
	n, err := fragmentLength(header)
	if err != nil {
		return nil, err
	}
	octets := append(header, make([]byte, n-headerSize)...)
	if _, err := io.ReadFull(conn, octets[headerSize:]); err != nil {
		return nil, err
	}
	return decode(octets)
}

func changed(octets []byte, at int, to byte) []byte {
	octets = bytes.Clone(octets)
	if at < 0 {
		at += len(octets)
	}
	octets[at] = to
	return octets
}

// TestReplies has what a server may answer a call with, and what it must not.
func TestReplies(t *testing.T) {
	const whole = flagFirst | flagLast
	good := answer(2, whole, "reply")
	plain := (&pdu{kind: kindResponse, flags: whole, call: 2, body: append(make([]byte, callSize), "reply"...)}).encode()
	fault := func(status uint32, flags uint8) []byte {
		body := binary.LittleEndian.AppendUint32(make([]byte, callSize), status)
		return (&pdu{kind: kindFault, flags: whole | flags, call: 2, body: append(body, 0, 0, 0, 0)}).encode()
	}
	for _, test := range []struct {
		name   string
		answer []byte
		reply  string
		failed string // what the error says; "": there is none
	}{
		{"whole", good, "reply", ""},
		{"in two fragments", append(answer(2, flagFirst, strings.Repeat("a", 5000)), answer(2, flagLast, "b")...), strings.Repeat("a", 5000) + "b", ""},
		{"empty", answer(2, whole, ""), "", ""},
		{"not sealed", plain, "", "not secured"},
		{"a signature of another", changed(good, -1, good[len(good)-1]+1), "", "signature is wrong"},
		{"changed on the way", changed(good, headerSize+callSize, 0), "", "signature is wrong"},
		{"a header that was changed", changed(good, 3, whole|0x80), "", "signature is wrong"},
		{"another level", changed(good, len(good)-16-7, 5), "", "level 5"},
		{"no signature", changed(changed(good, 10, 0), 8, good[8]-16), "", "dcerpc"},
		{"an auth_verifier longer than all", changed(changed(good, 10, 0xFF), 11, 0x10), "", "auth_verifier"},
		{"more padding than there is", sealedWith(2, 200), "", "padding"},
		{"a fragment longer than was agreed", changed(changed(good, 8, 0xFF), 9, 0xFF), "", "65535"},
		{"a fragment shorter than its header", changed(changed(good, 8, 3), 9, 0), "", "3 octets"},
		{"big-endian", changed(good, 4, 0), "", "little-endian"},
		{"another version", changed(good, 0, 4), "", "version 4"},
		{"HTTP", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "", "no RPC server"},
		{"another call", answer(7, whole, "reply"), "", "call 7"},
		{"no first fragment", answer(2, flagLast, "reply"), "", "flags 0x02"},
		{"two first fragments", append(answer(2, flagFirst, "a"), answer(2, whole, "b")...), "", "flags 0x03"},
		{"a fragment of nothing", append(answer(2, flagFirst, ""), answer(2, flagLast, "b")...), "", "has nothing"},
		{"a response of four octets", (&pdu{kind: kindResponse, flags: whole, call: 2, body: make([]byte, 4)}).encode(), "", "4 octets"},
		{"a bind_ack", bindAck(2, nil), "", "kind 12"},
		{"more than is allowed", append(answer(2, flagFirst, strings.Repeat("a", 5000)), answer(2, 0, strings.Repeat("a", 5000))...), "", "more than 6000"},
		{"cut off", good[:30], "", "EOF"},
		{"a fault", fault(StatusContextMismatch, 0), "", "context handle is not known"},
		{"a fault that was not executed", fault(StatusTooBusy, flagNotExecuted), "", "too busy"},
		{"a fault of four octets", (&pdu{kind: kindFault, flags: whole, call: 2, body: make([]byte, 4)}).encode(), "", "fault of 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			address := server(t, bindAck(1, challenge()), test.answer)
			c, err := Dial(t.Context(), address, Config{Interface: anything, Security: &weak{}, Most: 6000})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			reply, err := c.Call(t.Context(), 1, []byte("call"))
			if test.failed == "" && (err != nil || string(reply) != test.reply) || test.failed != "" && (err == nil || !strings.Contains(err.Error(), test.failed)) {
				t.Errorf("%q, %v", reply, err)
			}
		})
	}
}

// sealedWith is a response that says that so many octets of it are padding.
func sealedWith(call uint32, pad uint8) []byte {
	p := &pdu{kind: kindResponse, flags: flagFirst | flagLast, call: call, body: make([]byte, callSize+16)}
	p.auth = &trailer{method: MethodNTLM, level: levelPrivacy, pad: pad, context: securityContext, value: make([]byte, 16)}
	octets := p.encode()
	signed := octets[:len(octets)-16]
	signature, _ := (&weak{}).Seal(signed, headerSize+callSize, len(signed)-trailerSize)
	copy(octets[len(signed):], signature)
	return octets
}

// TestFaults has what a fault means: of the sign-in if it comes first, and of the call else.
func TestFaults(t *testing.T) {
	denied := binary.LittleEndian.AppendUint32(make([]byte, callSize), StatusAccessDenied)
	fault := func(call uint32) []byte {
		return (&pdu{kind: kindFault, flags: flagFirst | flagLast, call: call, body: append(bytes.Clone(denied), 0, 0, 0, 0)}).encode()
	}
	address := server(t, bindAck(1, challenge()), fault(2), answer(3, flagFirst|flagLast, "ok"), fault(4))
	c, err := Dial(t.Context(), address, Config{Interface: anything, Security: &weak{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, signIn := range []bool{true, false, false} {
		_, err := c.Call(t.Context(), 1, nil)
		var f *FaultError
		if errors.As(err, &f) != (i != 1) || f != nil && f.SignIn() != signIn {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if _, err := c.Call(t.Context(), 1, nil); err == nil { // the server has gone
		t.Error("a call of nobody was answered")
	}
	var unsent *UnsentError
	if _, err := c.Call(t.Context(), 1, nil); !errors.As(err, &unsent) {
		t.Errorf("a call on a connection that is broken: %v", err)
	}
}

// TestSignedFault: what follows on a fault that was signed goes over another connection.
func TestSignedFault(t *testing.T) {
	body := append(binary.LittleEndian.AppendUint32(make([]byte, callSize), StatusOutOfRange), make([]byte, 4)...)
	fault := (&pdu{kind: kindFault, flags: flagFirst | flagLast, call: 2, body: body, auth: challenge()}).encode()
	c, err := Dial(t.Context(), server(t, bindAck(1, challenge()), fault, answer(3, flagFirst|flagLast, "ok")), Config{Interface: anything, Security: &weak{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var f *FaultError
	if _, err := c.Call(t.Context(), 1, nil); !errors.As(err, &f) || f.Status != StatusOutOfRange {
		t.Error(err)
	}
	var unsent *UnsentError
	if _, err := c.Call(t.Context(), 1, nil); !errors.As(err, &unsent) {
		t.Error(err)
	}
}

// TestBinds has what a server may answer a bind with.
func TestBinds(t *testing.T) {
	const whole = flagFirst | flagLast
	rejected := bytes.Replace(bindAck(1, challenge()), []byte("\x01\x00\x00\x00\x00\x00\x00\x00"+string(ndr.UUID[:])), []byte("\x01\x00\x00\x00\x02\x00\x01\x00"+string(ndr.UUID[:])), 1)
	for _, test := range []struct {
		name   string
		answer []byte
		want   string
	}{
		{"bind_nak", (&pdu{kind: kindBindNak, flags: whole, call: 1, body: []byte{8, 0, 0, 0}}).encode(), "way of signing in is not known"},
		{"the interface is not there", rejected, "does not offer anything (reason 1)"},
		{"no token", bindAck(1, nil), "not secured"},
		{"another challenge", bindAck(1, &trailer{method: MethodNTLM, level: levelPrivacy, context: securityContext, value: []byte("x")}), "another challenge"},
		{"another call", bindAck(9, challenge()), "call 9"},
		{"small fragments", changed(changed(bindAck(1, challenge()), headerSize+2, 16), headerSize+3, 0), "16 octets"},
		{"cut short", (&pdu{kind: kindBindAck, flags: whole, call: 1, body: make([]byte, 9)}).encode(), "unexpected EOF"},
		{"a response", answer(1, whole, ""), "kind 2"},
		{"a secondary address that lies", changed(changed(bindAck(1, challenge()), headerSize+8, 0xFF), headerSize+9, 0xFF), "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := Dial(t.Context(), server(t, test.answer), Config{Interface: anything, Security: &weak{}})
			if err == nil {
				_ = c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Error(err)
			}
		})
	}
}

// TestSilence has a server that never answers, and a client that does not want to wait.
func TestSilence(t *testing.T) {
	t.Run("time-out", func(t *testing.T) {
		_, err := Dial(t.Context(), server(t, nil), Config{Interface: anything, Timeout: 50 * time.Millisecond})
		var n net.Error
		if !errors.As(err, &n) || !n.Timeout() {
			t.Error(err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		c, err := Dial(t.Context(), server(t, bindAck(1, nil)), Config{Interface: anything})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("nobody wants it any more")
		time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
		if _, err := c.Call(ctx, 1, nil); !errors.Is(err, cause) {
			t.Error(err)
		}
		var unsent *UnsentError
		if _, err := c.Call(t.Context(), 1, nil); !errors.As(err, &unsent) {
			t.Errorf("then %v", err)
		}
	})
}

func TestMapReply(t *testing.T) {
	tower := newTower(anything)
	at := bytes.Index(tower, []byte{1, 0, floorTCP, 2, 0})
	tower[at+5], tower[at+6] = 0x12, 0x34
	reply := func(towers [][]byte, status uint32) []byte {
		var w Writer
		w.Bytes(make([]byte, 20))
		n := uint32(len(towers))
		w.Uint32(n, towersMost, 0, n)
		for range towers {
			w.Pointer()
		}
		for _, one := range towers {
			w.Uint32(uint32(len(one)), uint32(len(one)))
			w.Bytes(one)
		}
		w.Uint32(status)
		return w.Octets()
	}
	other := newTower(Interface{UUID: UUID{2}})
	for _, test := range []struct {
		name  string
		reply []byte
		port  uint16
		want  error
	}{
		{"the second", reply([][]byte{other, tower, newTower(anything)}, 0), 0x1234, nil},
		{"none", reply(nil, 0), 0, &NotRegisteredError{}},
		{"another's", reply([][]byte{other, {}, {5, 0}, tower[:at+6]}, 0), 0, &NotRegisteredError{}},
		{"not registered", reply(nil, notRegistered), 0, &NotRegisteredError{}},
		{"cut short", reply([][]byte{tower}, 0)[:60], 0, ErrProtocol},
		{"counts that lie", changed(reply([][]byte{tower}, 0), 33, 0xFF), 0, ErrProtocol},
	} {
		port, err := mapReply(test.reply, anything)
		var unknown *NotRegisteredError
		if port != test.port || (err == nil) != (test.want == nil) || errors.Is(test.want, ErrProtocol) != errors.Is(err, ErrProtocol) ||
			errors.As(test.want, &unknown) && !errors.As(err, &unknown) {
			t.Errorf("%s: %d, %v", test.name, port, err)
		}
	}
}

// FuzzPDU takes anything apart as a PDU, and answers a bind and a call with it.
func FuzzPDU(f *testing.F) {
	f.Add(bindAck(1, challenge()))
	f.Add(answer(1, flagFirst|flagLast, "reply"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		p, err := decode(octets)
		if err != nil {
			return
		}
		c := &Conn{config: Config{Interface: anything, Security: &weak{}, Most: 1 << 20}, number: 1}
		_ = c.bound(p)
		_, _ = c.open(p)
		_ = c.fault(p)
	})
}

// FuzzMapReply reads anything as the reply of an endpoint mapper.
func FuzzMapReply(f *testing.F) {
	f.Add(append(make([]byte, 20), "\x01\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x02\x00\x04\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...))
	f.Fuzz(func(_ *testing.T, octets []byte) { _, _ = mapReply(octets, anything) })
}
