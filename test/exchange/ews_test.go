package exchange

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecordedEWS reads what was recorded with a server of EWS: each request and reply but those that are no XML.
func TestRecordedEWS(t *testing.T) {
	files, err := filepath.Glob("../../backends/exchange/testdata/ews/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		octets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var read struct {
			Exchanges []struct {
				Name              string
				Request, Response struct {
					Body string `json:"body_text"`
				}
			}
		}
		if err := json.Unmarshal(octets, &read); err != nil {
			t.Fatal(err)
		}
		for _, one := range read.Exchanges {
			for _, body := range []string{one.Request.Body, one.Response.Body} {
				if !strings.Contains(body, "Envelope") || one.Name == "malformed XML" {
					continue
				}
				if n, err := parseXML([]byte(body)); err != nil || n.name != "soap:Envelope" || len(n.child("soap:Body").children) != 1 {
					t.Errorf("%s: %v, %v", one.Name, n, err)
				}
			}
		}
	}
}
