package autodiscover

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// recorded are the answers that a server was recorded with, by name.
func recorded(t testing.TB) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("../testdata/autodiscover/01-pox.json")
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Exchanges []struct {
			Name     string
			Response struct {
				Body string `json:"body_text"`
			}
		}
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, x := range r.Exchanges {
		all[x.Name] = x.Response.Body
	}
	return all
}

// TestRecorded: what another server was recorded with is read.
func TestRecorded(t *testing.T) {
	all := recorded(t)
	a, err := readPOX([]byte(all["POX with X-MapiHttpCapability 1"]))
	const mailbox = "?MailboxId=67656f72-6765-4073-616b-657301000000@sakes.example"
	if err != nil || a.action != "settings" || a.found.Address != "george@sakes.example" || a.found.DisplayName != "George Sakes" ||
		!strings.HasSuffix(a.found.LegacyDN, "-george") || !strings.HasPrefix(a.found.ServerDN, "/o=Gromox default/") ||
		a.internal.store != "https://localhost:10443/mapi/emsmdb/"+mailbox || a.external.book != "https://localhost:10443/mapi/nspi/"+mailbox ||
		a.internal.ews != "https://localhost:10443/EWS/Exchange.asmx" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = readPOX([]byte(all["POX without X-MapiHttpCapability"])); err != nil || a.internal.ews == "" { // the server tells of MAPI over HTTP all the same
		t.Errorf("%+v, %v", a, err)
	}
	for name, code := range map[string]string{"POX for an unknown address": "404", "POX, malformed": "600"} {
		if a, err = readPOX([]byte(all[name])); err != nil || a.errorCode != code || a.message == "" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if _, err := readPOX([]byte("Unauthorized\r\n")); err == nil {
		t.Error("no document is taken for one")
	}
}

// FuzzAnswer gives documents to both readers: they end, and keep no more than they may.
func FuzzAnswer(f *testing.F) {
	for _, body := range recorded(f) {
		f.Add([]byte(body))
	}
	f.Add([]byte(`<s:Envelope xmlns:s="x"><UserResponse><ErrorCode>NoError</ErrorCode><UserSetting><Name>UserDN</Name><Value>/o</Value></UserSetting></UserResponse></s:Envelope>`))
	f.Fuzz(func(t *testing.T, document []byte) {
		document = document[:min(len(document), 64<<10)] // no more is ever read
		if a, err := readPOX(document); err == nil && len(a.found.LegacyDN)+len(a.toURL) > 2*textMost {
			t.Errorf("%d octets", len(a.found.LegacyDN))
		}
		if a, err := readSOAP(document); err == nil && len(a.values) > 100 {
			t.Errorf("%d settings", len(a.values))
		}
	})
}
