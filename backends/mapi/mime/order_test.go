package mime

import (
	"bytes"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestOrder: the same mail gives the same properties in the same order, so that what is encoded of them has the same octets.
func TestOrder(t *testing.T) {
	dates := "creation-date=\"Mon, 30 Nov 2026 10:00:00 +0000\"; modification-date=\"Mon, 30 Nov 2026 10:00:00 +0000\""
	message := []byte("To: a@a.example\r\nCc: b@a.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/html\r\nContent-ID: <x>\r\nContent-Location: y\r\n\r\nx\r\n" +
		"--b\r\nContent-Type: a/b\r\nContent-Disposition: attachment; " + dates + "\r\n\r\nx\r\n--b--\r\n")
	dump := func() []byte {
		var b bytes.Buffer
		if err := mapi.WriteDump(&b, convert(t, Reader{}, message)); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	first := dump()
	for range 50 {
		if again := dump(); !bytes.Equal(first, again) {
			t.Fatalf("%s\nand then\n%s", first, again)
		}
	}
}
