package stores

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestRedactor: neither what was presented nor a secret of the settings stays in a text, and everything else does.
func TestRedactor(t *testing.T) {
	schema := []backends.Setting{{Path: "service.user"}, {Path: "service.password", Secret: true}}
	redact := Redactor([]byte("open sesame"), []byte(`{"service": {"user": "keeper@sakes.example", "password": "keeper-secret"}}`), schema)
	basic := base64.StdEncoding.EncodeToString([]byte("george:open sesame"))
	said := redact("535 george:open sesame as keeper@sakes.example with keeper-secret, Authorization: Basic " + basic)
	for _, secret := range []string{"open sesame", "keeper-secret", basic} {
		if strings.Contains(said, secret) {
			t.Errorf("%q is told: %s", secret, said)
		}
	}
	if !strings.Contains(said, "535 george:") || !strings.Contains(said, "keeper@sakes.example") {
		t.Error(said)
	}
	if same := Redactor(nil, nil, nil)("nothing to hide"); same != "nothing to hide" {
		t.Error(same)
	}
}
