package signin

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChallenges(t *testing.T) {
	for _, test := range []struct {
		fields []string
		want   string
	}{
		{nil, ""},
		{[]string{"Negotiate", "NTLM", `Basic realm="mail.sakes.example"`}, "negotiate ntlm basic"},
		{[]string{"NTLM, Negotiate"}, "ntlm negotiate"},
		{[]string{"NTLM TlRMTVNTUAAC"}, "ntlm=TlRMTVNTUAAC"},
		{[]string{`Bearer realm="x", client_id="y", trusted_issuers="a@b"`}, "bearer"},
		{[]string{`Digest realm="x",qop="auth",nonce="="`}, "digest"},
		{[]string{"Negotiate !!!"}, "negotiate"},
		{[]string{"", ",", " , "}, ""},
		{[]string{strings.Repeat("x", challengesMost+1), "NTLM"}, ""},
	} {
		var got []string
		for _, c := range challenges(http.Header{"Www-Authenticate": test.fields}) {
			if c.token != "" {
				c.scheme += "=" + c.token
			}
			got = append(got, c.scheme)
		}
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%.60q: %s", test.fields, diff)
		}
	}
}

func TestWindowsStatus(t *testing.T) {
	for text, want := range map[string]string{
		"Error Code 0x80070532":      "ERROR_PASSWORD_EXPIRED",
		"<td>0x8009030c</td>":        "SEC_E_LOGON_DENIED",
		"status C0000234 for george": "STATUS_ACCOUNT_LOCKED_OUT",
		"0x80090346":                 "SEC_E_BAD_BINDINGS",
		"0x12345678 and c0000224":    "STATUS_PASSWORD_MUST_CHANGE",
		"nothing":                    "",
		"xC00000723":                 "",
	} {
		got, known := windowsStatus(nil, text)
		if known != (want != "") || !strings.Contains(got.text, want) {
			t.Errorf("%s: %v", text, got)
		}
	}
	if got, _ := windowsStatus(http.Header{"X-Windows-Error": {"0xC0000071"}}, ""); !strings.Contains(got.text, "STATUS_PASSWORD_EXPIRED") {
		t.Error(got)
	}
}

// FuzzChallenges reads anything as WWW-Authenticate.
func FuzzChallenges(f *testing.F) {
	f.Add("NTLM TlRMTVNTUAAC", `Bearer realm="x", y="z"`)
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, c := range challenges(http.Header{"Www-Authenticate": {a, b}}) {
			if c.scheme == "" || strings.ContainsAny(c.scheme, `," =`) {
				t.Errorf("a scheme %q", c.scheme)
			}
		}
	})
}
