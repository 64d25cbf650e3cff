package content

import (
	"strings"
	"testing"
)

func TestMessageID(t *testing.T) {
	for _, test := range []struct{ name, message, want string }{
		{"plain", "From: a@b.example\r\nMessage-ID: <x@y>\r\n\r\n", "<x@y>"},
		{"in other letters", "message-id:<x@y>\r\n\r\n", "<x@y>"},
		{"folded behind the name", "Message-ID:\r\n <x@y>\r\nSubject: s\r\n\r\n", "<x@y>"},
		{"none", "Subject: s\r\n\r\n", ""},
		{"in the body alone", "Subject: s\r\n\r\nMessage-ID: <x@y>\r\n", ""},
		{"a continuation", "X: a\r\n Message-ID: <no>\r\nMessage-ID: <x@y>\r\n", "<x@y>"},
		{"long", "Message-ID: " + strings.Repeat("x", 999) + "\r\n", strings.Repeat("x", 255)},
		{"no header", "", ""},
		{"nothing but the name", "Message-ID:", ""},
		{"cut", "Message-ID: <x", "<x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := MessageID([]byte(test.message)); got != test.want {
				t.Errorf("got %q", got)
			}
		})
	}
}
