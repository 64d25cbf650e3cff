//go:build linux

package growth

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
	"github.com/dipylon/dipylon/gateway/content"
)

// exchange are messages of Exchange as TNEF, written and read.
var exchange = []pass{
	inTNEF("properties", 400, func(m *mapi.Message, n int) {
		for i := range n {
			m.Set(mapi.Named{Set: mapi.PSETIDCommon, LID: uint32(i + 1)}, mapi.String("a value"))
		}
	}),
	inTNEF("values of a property", 2000, func(m *mapi.Message, n int) {
		m.Set(mapi.Named{Set: mapi.PSPublicStrings, Name: "Keywords"}, mapi.Multiple[mapi.String](someStrings(n)))
	}),
	inTNEF("recipients", 200, func(m *mapi.Message, n int) {
		for range n {
			r := &mapi.Recipient{}
			r.Set(mapi.PidTagDisplayName, mapi.String("Ann"))
			m.Recipients = append(m.Recipients, r)
		}
	}),
	inTNEF("attachments", 200, func(m *mapi.Message, n int) {
		for range n {
			m.Attachments = append(m.Attachments, &mapi.Attachment{Data: mapi.ContentOf([]byte("file"))})
		}
	}),
	inTNEF("messages in messages", mapi.DepthMost/4, func(m *mapi.Message, n int) {
		for range n {
			m.Set(mapi.PidTagHtml, mapi.Binary(bytes.Repeat([]byte("<p>"), 200)))
			inner := &mapi.Message{}
			m.Attachments = append(m.Attachments, &mapi.Attachment{Embedded: inner})
			m = inner
		}
	}),
	inTNEF("a long text", 20_000, func(m *mapi.Message, n int) {
		m.Set(mapi.PidTagBody, mapi.String(strings.Repeat("é", n)))
	}),
	opened("files", 100, func(m *mapi.Message, n int) {
		for range n {
			m.Attachments = append(m.Attachments, &mapi.Attachment{Data: mapi.ContentOf([]byte("file"))})
		}
	}, func(winmail string, _ int) string { return "--b\r\n\r\ntext\r\n--b\r\n" + winmail + "\r\n--b--\r\n" }),
	opened("lines that are nearly delimiters", 2000, func(m *mapi.Message, n int) {
		m.Set(mapi.PidTagHtml, mapi.Binary(strings.Repeat("--\r\n", n)))
	}, func(winmail string, _ int) string { return "--b\r\n\r\ntext\r\n--b\r\n" + winmail + "\r\n--b--\r\n" }),
	opened("beside many parts", 200, func(m *mapi.Message, _ int) {
		m.Set(mapi.PidTagHtml, mapi.Binary("<p>"))
	}, func(winmail string, n int) string {
		return "--b\r\n\r\ntext\r\n" + strings.Repeat("--b\r\n"+winmail+"\r\n", n) + "--b--\r\n"
	}),
	{"TNEF in mail: made of parts", 200, func(t *testing.T, n int) {
		message := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n" + strings.Repeat("--b\r\nContent-Type: a/b\r\n\r\nfile\r\n", n) + "--b--\r\n"
		if o, err := content.NewWinmail(buffer.Options{}, 1).MakeFrom(t.Context(), strings.NewReader(message)); err != nil || o.Message == nil {
			t.Fatal(o.Kept, err)
		}
	}},
	{"TNEF: thousands of messages in each other", 2500, func(t *testing.T, n int) { // 10,000
		file := nestedTNEF(n)
		if _, err := tnef.Decode(strings.NewReader(file), int64(len(file))); !errors.Is(err, mapi.ErrDepth) {
			t.Error(err)
		}
	}},
	{"TNEF: 4 GiB announced, of a property, of values, of properties", 2000, func(t *testing.T, n int) {
		for _, beginning := range []string{
			"\x01\x00\x00\x00\x02\x01\x00\x10\x01\x00\x00\x00\xff\xff\xff\xff", "\x01\x00\x00\x00\x02\x11\x00\x10\xff\xff\xff\xff", "\xff\xff\xff\xff",
		} {
			file := announcingTNEF(beginning + strings.Repeat("\x00", n))
			if s, err := tnef.Decode(strings.NewReader(file), int64(len(file))); s == nil || err == nil {
				t.Errorf("%v %v", s, err)
			}
		}
	}},
	{"TNEF: attributes that are no such", 1000, func(t *testing.T, n int) {
		file := "\x78\x9F\x3E\x22\x01\x00" + strings.Repeat("\x01\x77\x77\x77\x77\x01\x00\x00\x00?\x00\x00", n)
		if s, err := tnef.Decode(strings.NewReader(file), int64(len(file))); err != nil || len(s.Problems) == 0 {
			t.Errorf("%v %v", s, err)
		}
	}},
}

// nestedTNEF is TNEF of n messages, each with the next one as its attachment and with all the others in it (MS-OXTNEF §2.1.3.4.2).
func nestedTNEF(n int) string {
	const (
		head    = "\x78\x9F\x3E\x22\x01\x00"
		rend    = "\x02\x02\x90\x06\x00\x0e\x00\x00\x00\x01\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\xff\x03" // attAttachRendData
		message = "\x07\x03\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"                                     // IID_IMessage
		each    = 64
	)
	le := binary.LittleEndian
	var b []byte
	for i := range n {
		left := uint32((n - i) * each)
		b = append(append(b, head+rend+"\x02\x05\x90\x06\x00"...), le.AppendUint32(nil, left)...) // attAttachment
		b = append(le.AppendUint32(append(b, "\x01\x00\x00\x00\x0d\x00\x01\x37\x01\x00\x00\x00"...), left), message...)
	}
	return string(b)
}

// announcingTNEF is TNEF of attMsgProps with a value (MS-OXTNEF §2.1.3.4.1).
func announcingTNEF(value string) string {
	return "\x78\x9F\x3E\x22\x01\x00\x01\x03\x90\x06\x00" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(value)))) + value + "\x00\x00"
}

func someStrings(n int) []mapi.String {
	values := make([]mapi.String, n)
	for i := range values {
		values[i] = "a value"
	}
	return values
}

func inTNEF(name string, n int, fill func(*mapi.Message, int)) pass {
	return pass{"TNEF: " + name, n, func(t *testing.T, n int) {
		m := &mapi.Message{}
		fill(m, n)
		var file bytes.Buffer
		if err := tnef.Encode(&file, m, tnef.Options{}); err != nil {
			t.Fatal(err)
		}
		if _, err := tnef.Decode(bytes.NewReader(file.Bytes()), int64(file.Len())); err != nil {
			t.Fatal(err)
		}
	}}
}

// opened is a message with TNEF in it that is opened.
func opened(name string, n int, fill func(*mapi.Message, int), body func(winmail string, n int) string) pass {
	return pass{"TNEF in mail: " + name, n, func(t *testing.T, n int) {
		m := &mapi.Message{}
		fill(m, n)
		var file bytes.Buffer
		if err := tnef.Encode(&file, m, tnef.Options{}); err != nil {
			t.Fatal(err)
		}
		message := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
			body("Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: base64\r\n\r\n"+base64.StdEncoding.EncodeToString(file.Bytes()), n)
		if o, err := content.NewWinmail(buffer.Options{}, 1).Open(t.Context(), strings.NewReader(message), int64(len(message))); err != nil || o.Message == nil {
			t.Fatal(o.Kept, err)
		}
	}}
}
