package pickup

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	mail "github.com/dipylon/dipylon/backends/mail/address"
)

// front is an envelope as Exchange writes it, with its own properties of a recipient, folded.
const front = "X-sender: <george@sakes.example> BODY=8BITMIME RET=HDRS ENVID=a+2Bb\r\n" +
	"X-Receiver: <judy@dcnw.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;Judy@dcnw.example XRDST=x\r\n" +
	"X-ExtendedProps: BQBjAAoAU4mm\r\n\tQ3AgF==\r\n" +
	"X-Receiver: <pat+bills=a@dcnw.example> ORCPT=rfc822;pat+bills=a@dcnw.example\r\n" +
	"X-CreatedBy: MSExchange15\r\nX-HeloDomain: mbx.sakes.example\r\nX-Source: SMTP:Default MBX\r\nX-SourceIPAddress: 192.0.2.25\r\n" +
	"X-EndOfInjectedXHeaders: 8218\r\n"

func TestReadInjected(t *testing.T) {
	const message = "X-Receiver: <victim@far.example>\r\nSubject: x\r\n\r\nx\r\n"
	for name, text := range map[string]string{"with CRLF": front, "with LF": strings.ReplaceAll(front, "\r\n", "\n")} {
		e, size, err := ReadInjected(strings.NewReader(text + message))
		if err != nil || size != int64(len(text)) {
			t.Fatalf("%s: %d, %v", name, size, err)
		}
		if *e.Sender != "george@sakes.example" || e.Return != backends.ReturnHeaders || e.ID != "a+b" || len(e.Recipients) != 2 {
			t.Errorf("%s: %+v", name, e)
		}
		first, second := e.Recipients[0], e.Recipients[1]
		if first.Address != "judy@dcnw.example" || first.Notify != backends.NotifyFailure|backends.NotifyDelay || first.OriginalRecipient != "rfc822;Judy@dcnw.example" ||
			second.Address != "pat+bills=a@dcnw.example" {
			t.Errorf("%s: %+v", name, e.Recipients)
		}
	}
}

// TestWrongInjected: what is wrong in an envelope is told, and nothing is made of it.
func TestWrongInjected(t *testing.T) {
	const sender, receiver, end = "X-Sender: <george@sakes.example>\r\n", "X-Receiver: <judy@dcnw.example>\r\n", "X-EndOfInjectedXHeaders: 1\r\n\r\n"
	for text, want := range map[string]string{
		"":                                    "the file ends before",
		sender + receiver + "X-EndOfInjected": "the file ends before",
		sender + receiver + "\r\nx":           "no field before",
		sender + receiver + "Subject: x\r\n" + end: "the message begins before",
		receiver + end:                                                           "no X-Sender",
		sender + end:                                                             "no X-Receiver",
		sender + sender + receiver + end:                                         "two X-Sender",
		sender + "X-Receiver: judy\r\n" + end:                                    `"judy" is no address`,
		sender + "X-Receiver: <>\r\n" + end:                                      `"<>" is no address`,
		sender + receiver + "X-Receiver: <a@b@c>\r\n" + end:                      "is no address",
		"X-Sender: \r\n" + receiver + end:                                        `"" is no address`,
		sender + "X-Receiver: <judy@dcnw.example> NOTIFY=SOON\r\n" + end:         "NOTIFY=SOON",
		"X-Sender: <a@sakes.example> RET=ALL\r\n" + receiver + end:               "RET=ALL",
		sender + "X-Receiver: <" + strings.Repeat("x", 5000) + "@a.b>\r\n" + end: "more than",
		sender + strings.Repeat(receiver, injectedReceiver+1) + end:              "more than 10000",
		sender + strings.Repeat("X-A: "+strings.Repeat("x", 1<<20)+"\r\n", 33):   "within",
	} {
		if _, _, err := ReadInjected(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200q: %v, want %s", text, err, want)
		}
	}
	null, _, err := ReadInjected(strings.NewReader("X-Sender: <>\r\n" + receiver + end))
	if err != nil || null.Sender == nil || *null.Sender != "" {
		t.Errorf("the null reverse-path: %+v, %v", null, err)
	}
}

// FuzzReadInjected: an envelope has a sender and recipients that are addresses, and ends where it says that it does; more octets behind it change nothing.
func FuzzReadInjected(f *testing.F) {
	f.Add([]byte(front + "Subject: x\r\n\r\n"))
	f.Add([]byte("X-Sender: <>\nX-Receiver: a@b\nX-EndOfInjectedXHeaders:"))
	f.Fuzz(func(t *testing.T, file []byte) {
		e, size, err := ReadInjected(strings.NewReader(string(file)))
		if size < 0 || size > int64(len(file)) {
			t.Fatalf("%d octets of %d", size, len(file))
		}
		if err != nil {
			return
		}
		for _, r := range e.Recipients {
			if _, err := mail.Parse(r.Address); err != nil {
				t.Fatalf("%q: %v", r.Address, err)
			}
		}
		again, more, err := ReadInjected(strings.NewReader(string(file) + "X-Receiver: <a@b.example>\n"))
		if err != nil && !errors.Is(err, ErrUnfinished) || err == nil && (more != size || fmt.Sprint(again.Recipients) != fmt.Sprint(e.Recipients)) {
			t.Fatalf("%+v, %d, and with more behind it %+v, %d, %v", e, size, again, more, err)
		}
	})
}
