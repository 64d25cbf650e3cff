package mime

import (
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// ahoy is the file "Ahoy" with the text "Ahoy, ahoy!" and the resources "rsrc" in BinHex.
const ahoy = ":\"%&SEhN!9%9B9(4dH(3\"!*!%#`!!!!30E8&SEhNX)'&SEhNK3f9bFh*M(,X:"

// TestBinHex: a file of a Macintosh is the file that it was, and one that is damaged stays what came.
func TestBinHex(t *testing.T) {
	message := func(file string) []byte {
		return []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/mac-binhex40; name=\"Übersicht.hqx\"\r\n" +
			"Content-Disposition: attachment\r\n\r\n(This file must be converted with BinHex 4.0)\r\n\r\n" + file + "\r\n--b--\r\n")
	}
	m := convert(t, Reader{Skeleton: true}, message(ahoy))
	a := m.Attachments[0]
	r, err := a.Data.Open()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if string(data) != "Ahoy, ahoy!" || err != nil || a.Text(mapi.PidTagAttachLongFilename) != "Ahoy" || a.Text(mapi.PidTagAttachMimeTag) != "text/plain" ||
		string(a.Bytes(mapi.PidNameAttachmentMacInfo)) != "rsrc" {
		t.Errorf("%q, %v: %q, %q, %q", data, err, a.Text(mapi.PidTagAttachLongFilename), a.Text(mapi.PidTagAttachMimeTag), a.Bytes(mapi.PidNameAttachmentMacInfo))
	}
	written := string(write(t, Writer{}, m))
	if !strings.Contains(written, "name=Ahoy\r\n") || strings.Contains(written, "binhex") {
		t.Errorf("%s", written)
	}
	if m = convert(t, Reader{}, message(strings.Replace(ahoy, "'", "!", 1))); m.Attachments[0].Text(mapi.PidTagAttachMimeTag) != "application/mac-binhex40" {
		t.Errorf("a damaged file is %q", m.Attachments[0].Text(mapi.PidTagAttachMimeTag))
	}
}
