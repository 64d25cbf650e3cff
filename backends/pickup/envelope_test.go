package pickup

import (
	"reflect"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestEnvelopeText: what is written in front of a message is read again.
func TestEnvelopeText(t *testing.T) {
	null, anna := "", "anna@sakes.example"
	for _, e := range []Envelope{
		{},
		{Sender: &null},
		{Return: backends.ReturnFull},
		{ID: "<a@b.example>"},
		{Sender: &anna, ID: "<a@b.example>", Recipients: []backends.Recipient{
			{Address: "a@far.example", Notify: backends.NotifyFailure, OriginalRecipient: "rfc822;<a@far.example>"},
		}},
		{Sender: &anna, ID: "a +b=c", Return: backends.ReturnHeaders, Recipients: []backends.Recipient{
			{Address: "a@far.example"},
			{Address: `"a > b"@far.example`, Notify: backends.NotifyNever},
			{Address: "b@far.example", Notify: backends.NotifySuccess | backends.NotifyDelay, OriginalRecipient: "rfc822;b+c@far.example"},
		}},
	} {
		text := e.String()
		got, size, err := Read(strings.NewReader(text + "Subject: x\n\n"))
		if err != nil || size != int64(len(text)) || !reflect.DeepEqual(got, e) {
			t.Errorf("%q: %+v, %d, %v", text, got, size, err)
		}
	}
}
