package content_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/content"
)

// makes makes a winmail.dat; the message is as it was if nothing comes of that.
func makes(t *testing.T, message string) (string, content.Opened) {
	t.Helper()
	made, err := content.NewWinmail(buffer.Options{}, 1).MakeFrom(t.Context(), strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	if made.Message == nil {
		return message, made
	}
	octets, err := io.ReadAll(made.Message.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return string(octets), made
}

// TestMakeWinmail: the header and the text stay, and what is opened again is what there was.
func TestMakeWinmail(t *testing.T) {
	t.Parallel()
	const bill = "Content-Type: application/pdf; name=bill.pdf\r\nContent-Disposition: attachment; filename=bill.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg=="
	const html = "Content-Type: text/html\r\n\r\n<p>The bill</p>"
	alternative := "Content-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\n" + plainText + "\r\n--inner\r\n" + html + "\r\n--inner--"
	for _, c := range []struct{ name, message, made, opened string }{
		{"a file", mixed(plainText, bill), "mixed(plain:The bill is attached. ms-tnef:winmail.dat)", "mixed(plain:The bill is attached. pdf:bill.pdf)"},
		{"HTML and a file", mixed(alternative, bill), "mixed(plain:The bill is attached. ms-tnef:winmail.dat)", "mixed(alternative(plain:The bill is attached. html:<p>The bill</p>) pdf:bill.pdf)"},
		{"HTML alone", mixed(html, bill), "mixed(html:<p>The bill</p> ms-tnef:winmail.dat)", "mixed(html:<p>The bill</p> html:<p>The bill</p> pdf:bill.pdf)"},
		{"a header that the end of the message has cut off", "From: a@far.example\r\nSubject: A bill", "mixed(plain: ms-tnef:winmail.dat)", "mixed(plain:)"},
		{"a text", "Subject: x\r\nMessage-ID: <a@b>\r\n\r\nhello\r\n", "mixed(plain:hello ms-tnef:winmail.dat)", "mixed(plain:hello)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, made := makes(t, c.message)
			if shape(t, got) != c.made || made.Parts != 1 || made.Kept != nil {
				t.Errorf("%s (%+v), want %s\n%s", shape(t, got), made, c.made, got)
			}
			if fields := headerOf(t, read(t, got)); !bytes.Contains(fields, []byte("\r\nMIME-Version: 1.0\r\n")) {
				t.Errorf("its fields run into one another:\n%s", fields)
			}
			if again, _ := makes(t, c.message); again != got {
				t.Error("it has other octets the second time")
			}
			if back, _ := open(t, got); shape(t, back) != c.opened {
				t.Errorf("opened it is %s, want %s", shape(t, back), c.opened)
			}
			if strings.Contains(c.message, "Message-ID") && !strings.Contains(got, "\r\nX-MS-TNEF-Correlator: <a@b>\r\n") {
				t.Errorf("it has no correlator:\n%s", got)
			}
		})
	}
}

// TestMakeWinmailStays: what must stay as it came.
func TestMakeWinmailStays(t *testing.T) {
	t.Parallel()
	signed := strings.Replace(mixed(plainText, "Content-Type: application/pgp-signature\r\n\r\nx"), "mixed", "signed", 1)
	for name, message := range map[string]string{
		"signed": signed, "signed in it": strings.ReplaceAll(mixed(plainText, strings.ReplaceAll(signed, "outer", "inner")), "From: a@far.example\r\nSubject: A bill\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed", "Content-Type: multipart/signed"), "encrypted": strings.Replace(signed, "/signed", "/encrypted", 1), "opaque": "Content-Type: application/pkcs7-mime\r\n\r\nx",
		"a report": strings.Replace(mixed(plainText, "Content-Type: message/delivery-status\r\n\r\nAction: failed\r\n"), "mixed", "report", 1),
		"TNEF":     mixed(plainText, asPart(inTNEF(t, nil, attached("a", "b")))), "damaged TNEF": mixed(plainText, asPart("a lie")),
	} {
		if got, made := makes(t, message); got != message || made.Parts > 0 || made.Kept != nil {
			t.Errorf("%s: %+v\n%s", name, made, got)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if made, err := content.NewWinmail(buffer.Options{}, 1).MakeFrom(ended, strings.NewReader(signed)); err == nil || made.Kept != nil {
		t.Errorf("when nobody waits: %+v, %v", made, err)
	}
}
