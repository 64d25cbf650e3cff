//go:build linux

package mime

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
)

// openSSL is Debian's openssl with a certificate of Ada's. ./test/run installs it.
type openSSL struct{ certificate, key string }

func newOpenSSL(t *testing.T) openSSL {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Ada"}, EmailAddresses: []string{"ada@sakes.example"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	o := openSSL{filepath.Join(folder, "certificate.pem"), filepath.Join(folder, "key.pem")}
	for file, block := range map[string]*pem.Block{o.certificate: {Type: "CERTIFICATE", Bytes: certificate}, o.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// run gives octets to a command of openssl, and returns what it makes of them.
func (openSSL) run(t *testing.T, in []byte, arguments ...string) []byte {
	t.Helper()
	cmd := exec.Command("openssl", append([]string{"cms"}, arguments...)...)
	var told bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &told
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl cms %s: %v (./test/run install)\n%s", strings.Join(arguments, " "), err, &told)
	}
	return out
}

// throughFormats are ways that a message may have been through, back to its object.
func throughFormats(t *testing.T, m *mapi.Message) map[string]*mapi.Message {
	t.Helper()
	var stream, file bytes.Buffer
	w := fasttransfer.NewWriter(&stream)
	if err := w.Message(m); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	streamed, err := fasttransfer.NewReader(&stream, fasttransfer.Options{Keep: mapi.KeepInMemory}).Message()
	if err != nil {
		t.Fatal(err)
	}
	if err := tnef.Encode(&file, m, tnef.Options{}); err != nil {
		t.Fatal(err)
	}
	s, err := tnef.Decode(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*mapi.Message{"the object": m, "FastTransfer": streamed, "TNEF": s.Message}
}

// TestSignaturesHold: what openssl has signed or encrypted it verifies and decrypts when it was an object of Exchange's, also one without a skeleton; and
// the object that is made of what was written has the same octets.
func TestSignaturesHold(t *testing.T) {
	o := newOpenSSL(t)
	content := []byte("Content-Type: multipart/mixed; boundary=odd\r\n\r\npreamble  \r\n--odd\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		"From here, Grüße \t\r\n.\r\n..\r\n-- \r\n\r\n--odd\r\nContent-type:application/octet-stream\r\ncontent-transfer-encoding: BASE64\r\n\r\nQUJ\r\nD\r\n--odd--\r\n\r\n\r\n")
	verify := []string{"-verify", "-CAfile", o.certificate, "-purpose", "any", "-crlfeol"}
	for _, c := range []struct {
		name, class string
		make, undo  []string
	}{
		{"clear-signed", "IPM.Note.SMIME.MultipartSigned", []string{"-sign", "-signer", o.certificate, "-inkey", o.key}, verify},
		{"opaque", "IPM.Note.SMIME", []string{"-sign", "-nodetach", "-signer", o.certificate, "-inkey", o.key}, verify},
		{"encrypted", "IPM.Note.SMIME", []string{"-encrypt", "-aes256"}, []string{"-decrypt", "-recip", o.certificate, "-inkey", o.key}},
	} {
		t.Run(c.name, func(t *testing.T) {
			arguments := append(c.make, "-crlfeol", "-binary")
			if c.name == "encrypted" {
				arguments = append(arguments, o.certificate)
			}
			made := append([]byte("From: Ada <ada@sakes.example>\r\nTo: ben@a.example\r\nSubject: secret\r\n"), o.run(t, content, arguments...)...)
			for _, kept := range []bool{false, true} {
				first := convert(t, Reader{Skeleton: kept}, made)
				if class := first.Text(mapi.PidTagMessageClass); class != c.class || len(first.Attachments) != 1 {
					t.Fatalf("%s, %d attachments", class, len(first.Attachments))
				}
				for through, m := range throughFormats(t, first) {
					out := twice(t, Writer{Kept: kept}, m)
					if kept && !bytes.Equal(out, made) {
						t.Errorf("through %s it did not come back as it came", through)
					}
					if got := o.run(t, out, c.undo...); !bytes.Equal(got, content) {
						t.Errorf("through %s the content is %q", through, got)
					}
					again := convert(t, Reader{}, out)
					if !bytes.Equal(octetsOf(t, again.Attachments[0].Data), octetsOf(t, first.Attachments[0].Data)) {
						t.Errorf("through %s the attachment has other octets", through)
					}
				}
			}
		})
	}
}
