package content_test

import (
	"testing"

	"github.com/dipylon/dipylon/gateway/content"
)

func TestAutomatic(t *testing.T) {
	for text, want := range map[string]content.Automatic{
		"Auto-Submitted: auto-replied\r\n\r\nx":                                                      content.Reply,
		"Subject: x\r\nauto-submitted :  Auto-Generated; owner=x\r\n\r\nx":                           content.Reply,
		"Auto-Submitted:\r\n auto-replied (away)\r\n":                                                content.Reply,
		"Auto-Submitted: auto-replied (Vacation)\r\n\r\n":                                            content.OutOfOffice,
		"Auto-Submitted: auto-replied(sieve\r\n vacation); x=y\r\n\r\n":                              content.OutOfOffice,
		"Auto-Submitted: auto-generated (vacation)\r\n\r\n":                                          content.Reply,
		"Auto-Submitted: no\r\n\r\n":                                                                 0,
		"Auto-Submitted: auto-notified\r\n\r\n":                                                      0,
		"Auto-Submitted:\r\n\r\n":                                                                    0,
		"Subject: x\r\n\r\nAuto-Submitted: auto-replied\r\n":                                         0,
		"X-Auto-Submitted: auto-replied\r\n\r\n":                                                     0,
		"Auto-Submitted: auto-replied\r\nContent-Type: multipart/report; report-type=x\r\n\r\n":      0,
		"Content-Type: Multipart/Report;\r\n boundary=\"x\"\r\nAuto-Submitted: auto-replied\r\n\r\n": 0,
		"Auto-Submitted: auto-replied\r\nContent-Type: text/plain\r\n\r\n":                           content.Reply,
		"Auto-Submitted: auto-forwarded\r\n\r\n":                                                     content.Forward,
		"Autoforwarded: TRUE\r\n\r\n":                                                                content.Forward,
		"Autoforwarded: false\r\n\r\n":                                                               0,
		"X-MS-Exchange-Organization-AutoForwarded: true\r\n\r\n":                                     content.Forward,
		"X-Forwarded-For: a@x.example b@y.example\r\n\r\n":                                           content.Forward,
		"X-Forwarded-For: 192.0.2.1\r\n\r\n":                                                         0,
		"X-Sieve-Redirected-From: a@x.example\r\nAuto-Submitted: auto-replied\r\n\r\n":               content.Forward | content.Reply,
		"Resent-From: a@x.example\r\nSubject: Fwd: x\r\n\r\n":                                        0,
		"": 0,
	} {
		if got := content.AutomaticOf([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
