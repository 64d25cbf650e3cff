package content_test

import (
	"testing"

	"github.com/dipylon/dipylon/gateway/content"
)

func TestAutomatic(t *testing.T) {
	for text, want := range map[string]bool{
		"Auto-Submitted: auto-replied\r\n\r\nx":                                                      true,
		"Subject: x\r\nauto-submitted :  Auto-Generated; owner=x\r\n\r\nx":                           true,
		"Auto-Submitted:\r\n auto-replied (away)\r\n":                                                true,
		"Auto-Submitted: no\r\n\r\n":                                                                 false,
		"Auto-Submitted: auto-notified\r\n\r\n":                                                      false,
		"Auto-Submitted:\r\n\r\n":                                                                    false,
		"Subject: x\r\n\r\nAuto-Submitted: auto-replied\r\n":                                         false,
		"X-Auto-Submitted: auto-replied\r\n\r\n":                                                     false,
		"Auto-Submitted: auto-replied\r\nContent-Type: multipart/report; report-type=x\r\n\r\n":      false,
		"Content-Type: Multipart/Report;\r\n boundary=\"x\"\r\nAuto-Submitted: auto-replied\r\n\r\n": false,
		"Auto-Submitted: auto-replied\r\nContent-Type: text/plain\r\n\r\n":                           true,
		"": false,
	} {
		if got := content.Automatic([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
