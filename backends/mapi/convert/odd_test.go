package convert

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestOddMessages has what TNEF in the wild has that programs which unpack it stumble over: each becomes mail with all of it.
func TestOddMessages(t *testing.T) {
	file := func(tags map[mapi.Tag]string, data string) *mapi.Attachment {
		a := &mapi.Attachment{Data: mapi.ContentOf([]byte(data))}
		a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
		for tag, text := range tags {
			a.Set(tag, mapi.String(text))
		}
		return a
	}
	message := func(fill func(m *mapi.Message)) *mapi.Message {
		m := &mapi.Message{}
		m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
		fill(m)
		return m
	}
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, c := range []struct {
		name  string
		m     *mapi.Message
		wants []string
	}{
		{"HTML in the properties, and no attachment (verdammelt/tnef#38)", message(func(m *mapi.Message) {
			m.Set(mapi.PidTagHtml, mapi.Binary("<p>nothing else</p>"))
		}), []string{"<p>nothing else</p>"}},
		{"a title that is not the file's name (bertjohnson/OpaqueMail#50)", message(func(m *mapi.Message) {
			m.Attachments = append(m.Attachments, file(map[mapi.Tag]string{
				mapi.PidTagDisplayName: "PDF File", mapi.PidTagAttachFilename: "BILL20~1.PDF", mapi.PidTagAttachLongFilename: "bill 2026.pdf",
			}, "pdf"))
		}), []string{`filename="bill 2026.pdf"`, encoded("pdf")}},
		{"a file that is called a message and is none (verdammelt/tnef#25)", message(func(m *mapi.Message) {
			m.Attachments = append(m.Attachments, file(map[mapi.Tag]string{mapi.PidTagAttachMimeTag: "message/rfc822", mapi.PidTagAttachLongFilename: "x.msg"}, "\xd0\xcf\x11\xe0 no mail"))
		}), []string{"filename=x.msg", encoded("\xd0\xcf\x11\xe0 no mail")}},
		{"a meeting without an attachment (verdammelt/tnef#45, koodaamo/tnefparse#16)", message(func(m *mapi.Message) {
			m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Schedule.Meeting.Request"))
			m.Set(mapi.PidTagSubject, mapi.String("the hall"))
			m.Set(mapi.PidLidAppointmentStartWhole, mapi.Time(134_100_000_000_000_000))
			m.Set(mapi.PidLidAppointmentEndWhole, mapi.Time(134_100_036_000_000_000))
		}), []string{"BEGIN:VEVENT", "SUMMARY:the hall"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			winmail := written(t, TNEF, c.m)
			mail := "Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded(winmail) + "\r\n"
			for way, got := range map[string]string{
				"the file":             written(t, EML, read(t, TNEF, winmail)),
				"mail":                 written(t, EML, read(t, EML, mail)),
				"mail in mail in mail": written(t, EML, read(t, EML, strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 2)+mail)), // verdammelt/tnef#47
			} {
				for _, want := range c.wants {
					if !strings.Contains(got, want) {
						t.Errorf("%s: %q is not in\n%s", way, want, got)
					}
				}
			}
		})
	}
}
