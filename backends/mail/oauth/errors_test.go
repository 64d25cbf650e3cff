package oauth

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

// FuzzRefused: whatever an issuer answers, the error is short, printable and has no secret of the request in it.
func FuzzRefused(f *testing.F) {
	f.Add(400, "invalid_client", "AADSTS7000222: The provided client secret keys for app '0' are expired.", `{"error_codes":[7000222]}`, "7", "the-secret")
	f.Add(400, "invalid_grant", "Invalid JWT: sec\x80ret", `{"error_codes":["x"]}`, "Mon, 30 Nov 2026 12:00:00 GMT", "secret")
	f.Fuzz(func(t *testing.T, status int, code, description, body, after, secret string) {
		answer := &oauth2.RetrieveError{
			Response: &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {after}}}, Body: []byte(body), ErrorCode: code, ErrorDescription: description,
		}
		e := refused(answer, []string{secret})
		if len(e.Detail) > detailMost || strings.ContainsFunc(e.Code+e.Detail, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q", e.Detail)
		}
		if len(secret) >= 16 && !strings.Contains(secret, "(hidden)") && strings.TrimSpace(secret) == secret && !strings.ContainsAny(secret, " \t") && strings.Contains(e.Detail, secret) {
			t.Errorf("%q has %q in it", e.Detail, secret)
		}
		if e.RetryAfter < 0 || e.RetryAfter > retryMost || e.Advice() == "" && e.Kind != loginPending {
			t.Errorf("%v %q", e.RetryAfter, e.Kind)
		}
	})
}

// TestLongAnswer: an answer without an end is not read to it.
func TestLongAnswer(t *testing.T) {
	b := &bounded{ReadCloser: http.NoBody, left: 0, done: func() {}}
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Error("no end")
	}
	long := &bounded{ReadCloser: endless{}, left: answerMost, done: func() {}}
	buffer, n := make([]byte, 32<<10), 0
	for {
		m, err := long.Read(buffer)
		if n += m; err != nil {
			break
		}
	}
	if n > answerMost {
		t.Errorf("%d octets", n)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }
