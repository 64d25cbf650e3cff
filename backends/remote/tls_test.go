package remote

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestTrust connects to a server whose certificate nobody knows, and says why it should be
// trusted, or not.
func TestTrust(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	dir, certificate := t.TempDir(), server.Certificate()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	other := sha256.Sum256(certificate.Raw)
	for name, c := range map[string]struct {
		trust   Trust
		refused string
	}{
		"nothing said":        {Trust{}, "not trusted"},
		"its authority":       {Trust{CA: "ca.pem"}, ""},
		"another name":        {Trust{CA: "ca.pem", Name: "mail.far.example"}, "not trusted"},
		"a name that it has":  {Trust{CA: "ca.pem", Name: "example.com"}, ""},
		"its key":             {Trust{Pin: "sha256/" + base64.StdEncoding.EncodeToString(sum[:])}, ""},
		"another key":         {Trust{Pin: "sha256/" + base64.StdEncoding.EncodeToString(other[:])}, "not the pinned one"},
		"authority, not key":  {Trust{CA: "ca.pem", Pin: "sha256/" + base64.StdEncoding.EncodeToString(other[:])}, "not the pinned one"},
		"key, whatever names": {Trust{Name: "mail.far.example", Pin: "sha256/" + base64.StdEncoding.EncodeToString(sum[:])}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var wrong backends.SettingsError
			config := c.trust.Config(&wrong, dir, "127.0.0.1")
			if err := wrong.Err(); err != nil {
				t.Fatal(err)
			}
			address := server.Listener.Addr().String()
			conn, err := tls.Dial("tcp", address, config)
			if err == nil {
				_ = conn.Close()
			}
			err = ConnectFailure(address, "tls", err)
			if (err == nil) != (c.refused == "") || err != nil && (!strings.Contains(err.Error(), c.refused) || backends.AsFailure(err).Code != "4.7.5") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTrustIsChecked(t *testing.T) {
	for path, trust := range map[string]Trust{"ca": {CA: "nowhere.pem"}, "pin": {Pin: "sha1/x"}} {
		var wrong backends.SettingsError
		trust.Config(&wrong, t.TempDir(), "x")
		if len(wrong.Problems) != 1 || wrong.Problems[0].Path != path {
			t.Errorf("%+v: %v", trust, wrong.Err())
		}
	}
}

// TestNoTLS: a server that does not speak TLS is told from one whose certificate is wrong.
func TestNoTLS(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = conn.Write([]byte("* OK I speak in clear\r\n"))
			_ = conn.Close()
		}
	}()
	_, err = tls.Dial("tcp", listener.Addr().String(), Trust{}.Config(nil, "", "x"))
	if err = ConnectFailure("x", `"url"`, err); err == nil || !strings.Contains(err.Error(), `is "url" right?`) {
		t.Errorf("got %v", err)
	}
}
