package imap

import (
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// TestWire: what is noted of what a server says.
func TestWire(t *testing.T) {
	for name, tt := range map[string]struct {
		said     string
		bye      string
		referral string
		validity uint32
	}{
		"nothing":              {said: "* OK ready\r\n"},
		"BYE":                  {said: "* BYE [UNAVAILABLE] going down\r\n", bye: "UNAVAILABLE going down"},
		"bye without a text":   {said: "* bye\r\n", bye: " "},
		"BYE in a literal":     {said: "* 1 FETCH (BODY[] {11}\r\n* BYE now\r\n)\r\n"},
		"BYE behind a literal": {said: "* 1 FETCH (BODY[] {3+}\r\nabc)\r\n* BYE now\r\n", bye: " now"},
		"a referral":           {said: "T1 NO [REFERRAL imap://a@b/] there\r\n", referral: "imap://a@b/"},
		"validity":             {said: "* OK [UIDVALIDITY 42] new\r\n", validity: 42},
		"the last validity":    {said: "* OK [UIDVALIDITY 42]\r\n* ok [uidvalidity 43] x\r\n", validity: 43},
		"no validity":          {said: "* OK [UIDVALIDITY 99999999999] x\r\n* OK [UIDVALIDITY] x\r\n* OK UIDVALIDITY 4\r\n"},
		"an unfinished line":   {said: "* BYE now"},
	} {
		t.Run(name, func(t *testing.T) {
			var w wire
			w.follow([]byte(tt.said))
			bye := ""
			if w.bye != nil {
				bye = string(w.bye.Code) + " " + w.bye.Text
			}
			if bye != tt.bye || w.referral != tt.referral || w.uidValidity() != tt.validity {
				t.Errorf("it notes %q, %q, %d", bye, w.referral, w.uidValidity())
			}
		})
	}
}

// FuzzWire: what is noted does not depend on how the octets come in, and little is kept.
func FuzzWire(f *testing.F) {
	f.Add([]byte("* OK [UIDVALIDITY 42] new\r\n* 1 FETCH (BODY[] {3}\r\nabc)\r\n* BYE now\r\n"), 7)
	f.Add([]byte("* BYE [REFERRAL imap://x/] {5}\r\nabcde{99999999999999999999}\r\n"), 1)
	f.Add([]byte("* BYE [LIMIT] "+strings.Repeat("long ", 300)+"\r\n"), 9)
	f.Fuzz(func(t *testing.T, said []byte, size int) {
		var whole, pieces wire
		whole.follow(said)
		size = max(1, size%64)
		for begin := 0; begin < len(said); begin += size {
			pieces.follow(said[begin:min(begin+size, len(said))])
			if len(pieces.line) > lineMost || pieces.out.Len() > 2*len(said)+1024 {
				t.Fatalf("%d octets are kept, and %d passed on", len(pieces.line), pieces.out.Len())
			}
		}
		if whole.out.String() != pieces.out.String() || text(whole.failed) != text(pieces.failed) {
			t.Errorf("at once it makes %q (%v), in pieces %q (%v)", whole.out.String(), whole.failed, pieces.out.String(), pieces.failed)
		}
		if text(whole.bye) != text(pieces.bye) || whole.literal != pieces.literal {
			t.Errorf("at once it notes %q and %d, in pieces %q and %d", text(whole.bye), whole.literal, text(pieces.bye), pieces.literal)
		}
	})
}

func text(e error) string {
	if said := (*imap.Error)(nil); e == nil || errors.As(e, &said) && said == nil {
		return ""
	}
	return e.Error()
}
