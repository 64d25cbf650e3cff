package content_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/content"
)

// convert is a message that was converted, or why it cannot be.
func convert(message string) (string, error) {
	s, err := content.NewSevenBit(strings.NewReader(message))
	if err != nil {
		return "", err
	}
	var first string
	for again := range 2 {
		text, err := io.ReadAll(s)
		if err != nil {
			return "", err
		}
		if int64(len(text)) != s.Size() || again > 0 && string(text) != first {
			return "", fmt.Errorf("%d octets, and not %d, the first time %d", len(text), s.Size(), len(first))
		}
		first = string(text)
		if _, err := s.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
	}
	return first, nil
}

func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n" }

// folded has lines of 76 octets.
func folded(text string) string {
	if len(text) <= 76 {
		return text
	}
	return text[:76] + "\r\n" + folded(text[76:])
}

// TestSevenBit: what needs it is encoded, text in what is shorter, and the rest stays to the octet.
func TestSevenBit(t *testing.T) {
	greek := strings.Repeat("Δίπυλον ", 20)
	for name, c := range map[string]struct{ message, want string }{
		"nothing to do": {
			lines("Subject: x", "Content-Transfer-Encoding: 8bit", "", "hello", ""),
			lines("Subject: x", "Content-Transfer-Encoding: 8bit", "", "hello", ""),
		},
		"text": {
			lines("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "Subject: x", "", "All the best, Grüße = 1 ", ".", "", ""),
			lines("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Subject: x", "Content-Transfer-Encoding: quoted-printable", "",
				"All the best, Gr=C3=BC=C3=9Fe =3D 1=20", ".", "", ""),
		},
		"no MIME (RFC 1428)": {
			lines("Subject: x", "", "All the best, and more, Grüße"),
			lines("Subject: x", "Content-Transfer-Encoding: quoted-printable", "Content-Type: text/plain; charset=unknown-8bit", "MIME-Version: 1.0", "", "All the best, and more, Gr=C3=BC=C3=9Fe"),
		},
		"text that is shorter in base64": {
			lines("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "", greek),
			lines("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", "",
				folded(base64.StdEncoding.EncodeToString([]byte(greek+"\r\n")))),
		},
		"parts": {
			lines("Content-Type: multipart/mixed; boundary=b", "Content-Transfer-Encoding: 8bit", "MIME-Version: 1.0", "", "für", "--b", "", "plain", "--b",
				"Content-Type: text/plain; charset=utf-8", "", "ü", "", "--b", "Content-Type: image/png", "Content-Transfer-Encoding: binary", "", "\xff\x00", "--b", "Content-Type: text/x", "--b--", "über"),
			lines("Content-Type: multipart/mixed; boundary=b", "MIME-Version: 1.0", "Content-Transfer-Encoding: 7bit", "", "f??r", "--b", "", "plain", "--b",
				"Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", "", "=C3=BC", "", "--b",
				"Content-Type: image/png", "Content-Transfer-Encoding: base64", "", "/wA=", "--b", "Content-Type: text/x", "--b--", "??ber"),
		},
		"nested, and an outer boundary ends the inner one": {
			lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: multipart/alternative; boundary=\"c d\"", "", "--c d", "", "ü", "--b ", "", "all of ä", "--c d", "--b--"),
			lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: multipart/alternative; boundary=\"c d\"", "", "--c d",
				"Content-Transfer-Encoding: base64", "Content-Type: text/plain; charset=unknown-8bit", "", "w7w=", "--b ",
				"Content-Transfer-Encoding: quoted-printable", "Content-Type: text/plain; charset=unknown-8bit", "", "all of =C3=A4", "--c d", "--b--"),
		},
		"what is signed is 7-bit": {
			lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: multipart/signed; boundary=s", "", "--s", "", "signed", "--s--", "--b", "", "\xe4", "--b--"),
			lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: multipart/signed; boundary=s", "", "--s", "", "signed", "--s--", "--b",
				"Content-Transfer-Encoding: quoted-printable", "Content-Type: text/plain; charset=unknown-8bit", "", "=E4", "--b--"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := convert(c.message)
			if err != nil || got != c.want {
				t.Errorf("%v\n%q\nwant\n%q", err, got, c.want)
			}
		})
	}
}

// TestSevenBitCannot: what would break a signature, or cannot be told, is refused with its reason.
func TestSevenBitCannot(t *testing.T) {
	for why, message := range map[string]string{
		"signed or encrypted": lines("Content-Type: multipart/signed; boundary=s", "", "--s", "", "ü", "--s--"),
		"as message/rfc822":   lines("Content-Type: multipart/digest; boundary=s", "", "--s", "", "Subject: x", "", "ü", "--s--"),
		"in spite of":         lines("Content-Transfer-Encoding: quoted-printable", "", "ü"),
		"has no boundary":     lines("Content-Type: multipart/mixed", "", "ü"),
		"the header of":       lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Disposition: attachment; filename=ü", "", "x", "--b--"),
		"longer than":         "X: " + strings.Repeat("x", 2<<20) + "\r\n\r\nü",
		"more than":           lines("Content-Type: multipart/mixed; boundary=b", "", strings.Repeat("--b\r\n", 100_001)),
	} {
		_, err := convert(message)
		if refused, is := errors.AsType[*content.SevenBitError](err); !is || !strings.Contains(refused.Why, why) {
			t.Errorf("%q: %v", why, err)
		}
	}
}

// FuzzSevenBit: what is converted is ASCII, as long as it says, and stays as it is when it is converted again.
func FuzzSevenBit(f *testing.F) {
	f.Add(lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "ü", "--b", "Content-Type: multipart/digest; boundary=c", "", "--c", "", "a", "--c--", "--b--"))
	f.Add(lines("MIME-Version: 1.0", "Content-Type: text/plain", "", "\xe4\r\r\n=", "x\nü"))
	f.Fuzz(func(t *testing.T, message string) {
		got, err := convert(message)
		if _, refused := errors.AsType[*content.SevenBitError](err); refused {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(got) {
			if got[i] >= 0x80 {
				t.Fatalf("octet %d of %q", i, got)
			}
		}
		if again, err := convert(got); err != nil || again != got {
			t.Fatalf("%q, converted again %q, %v", got, again, err)
		}
	})
}

// TestSevenBitLongLines: what is not encoded stays to the octet, and what is has the content's octets, wherever in a long
// line's pieces its end comes.
func TestSevenBitLongLines(t *testing.T) {
	for length := 4<<10 - 3; length <= 4<<10+1; length++ {
		long := strings.Repeat("x", length)
		head := func(encoding string) string {
			return lines("MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b", "", "--b", "", long, "end", "--b", "Content-Type: application/x",
				"Content-Transfer-Encoding: "+encoding, "")
		}
		end := lines("", "--b--", long, "end")
		got, err := convert(head("8bit") + long + "\r\nä" + end)
		if want := head("base64") + folded(base64.StdEncoding.EncodeToString([]byte(long+"\r\nä"))) + end; err != nil || got != want {
			t.Errorf("lines of %d octets: %d octets in place of %d, %v", length, len(got), len(want), err)
		}
	}
}
