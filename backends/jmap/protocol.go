package jmap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

const (
	coreCapability       = "urn:ietf:params:jmap:core"
	mailCapability       = "urn:ietf:params:jmap:mail"
	submissionCapability = "urn:ietf:params:jmap:submission"

	// answerMost bounds one API response: a list of a hundred thousand messages fits.
	answerMost = 128 << 20
)

// session is the session resource (RFC 8620 §2).
type session struct {
	Capabilities struct {
		Core struct {
			MaxObjectsInGet int   `json:"maxObjectsInGet"`
			MaxObjectsInSet int   `json:"maxObjectsInSet"`
			MaxSizeUpload   int64 `json:"maxSizeUpload"`
		} `json:"urn:ietf:params:jmap:core"`
	} `json:"capabilities"`
	Accounts map[string]struct {
		Name         string `json:"name"`
		Capabilities struct {
			Mail struct {
				SortOptions []string `json:"emailsListSortOptions"`
			} `json:"urn:ietf:params:jmap:mail"`
		} `json:"accountCapabilities"`
	} `json:"accounts"`
	PrimaryAccounts map[string]string `json:"primaryAccounts"`
	APIURL          string            `json:"apiUrl"`
	DownloadURL     string            `json:"downloadUrl"`
	UploadURL       string            `json:"uploadUrl"`

	credential backends.Credential
}

func (s *session) mailAccount() string { return s.PrimaryAccounts[mailCapability] }

// session fetches the session resource.
func (s *Store) session(ctx context.Context, c backends.Credential) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Timeout.duration())
	defer cancel()
	response, err := s.do(ctx, c, http.MethodGet, s.settings.URL, "", nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	result := &session{credential: c}
	if err := json.NewDecoder(io.LimitReader(response.Body, 4<<20)).Decode(result); err != nil {
		return nil, backends.Fail(backends.Temporary, "the session resource cannot be read: %w", err)
	}
	base := response.Request.URL
	for _, u := range []*string{&result.APIURL, &result.DownloadURL, &result.UploadURL} {
		resolved, err := resolve(base, *u)
		if err != nil {
			return nil, err
		}
		*u = resolved
	}
	core := &result.Capabilities.Core
	core.MaxObjectsInGet = max(1, core.MaxObjectsInGet)
	core.MaxObjectsInSet = max(1, core.MaxObjectsInSet)
	return result, nil
}

// resolve makes a URL of the session absolute. The credential goes there, so it has to be the
// same server. A URL template's braces are kept (RFC 6570).
func resolve(base *url.URL, ref string) (string, error) {
	if strings.HasPrefix(ref, "/") && !strings.HasPrefix(ref, "//") {
		return base.Scheme + "://" + base.Host + ref, nil
	}
	plain, _, _ := strings.Cut(ref, "{")
	u, err := url.Parse(plain)
	if err != nil || u.Scheme != base.Scheme || !strings.EqualFold(u.Hostname(), base.Hostname()) && !sameSite(u.Hostname(), base.Hostname()) {
		return "", backends.Fail(backends.Temporary, "the session resource names %q, which is not on the server %s", ref, base.Host)
	}
	return ref, nil
}

// sameSite allows what large services do: api.example.com and beta.example.com.
func sameSite(a, b string) bool {
	_, siteA, okA := strings.Cut(a, ".")
	_, siteB, okB := strings.Cut(b, ".")
	return okA && okB && strings.Contains(siteA, ".") && strings.EqualFold(siteA, siteB)
}

// do sends one HTTP request; an answer that is not 2xx becomes a failure.
func (s *Store) do(ctx context.Context, c backends.Credential, method, target, contentType string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "%s: %w", method, err)
	}
	switch c.Kind {
	case backends.CredentialPassword:
		request.SetBasicAuth(s.loginName(c.User), string(c.Secret))
	case backends.CredentialToken:
		request.Header.Set("Authorization", "Bearer "+string(c.Secret))
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "%s %s: %w", method, request.URL.Path, hideURL(err)).WithCode("4.4.1")
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	detail, _ := io.ReadAll(io.LimitReader(response.Body, 500))
	return nil, httpFailure(method+" "+request.URL.Path, response, string(detail))
}

// hideURL takes the URL out of an error: it may hold names that are nobody else's business.
func hideURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (s *Store) loginName(user string) string {
	if s.settings.Username == "local" {
		if at := strings.LastIndexByte(user, '@'); at > 0 {
			return user[:at]
		}
	}
	return user
}

func httpFailure(what string, r *http.Response, detail string) *backends.Failure {
	kind := backends.Temporary
	switch r.StatusCode {
	case http.StatusUnauthorized:
		kind = backends.BadCredentials
	case http.StatusForbidden:
		kind = backends.Permanent
	case http.StatusNotFound, http.StatusGone:
		kind = backends.NotFound
	case http.StatusTooManyRequests:
		kind = backends.Throttled
	case http.StatusRequestEntityTooLarge:
		kind = backends.TooLarge
	case http.StatusInsufficientStorage:
		kind = backends.OverQuota
	}
	f := backends.Fail(kind, "%s: %s %s", what, r.Status, detail)
	return f.After(retryAfter(r.Header.Get("Retry-After")))
}

// retryAfter reads both forms of the header (RFC 9110 §10.2.3).
func retryAfter(value string) time.Duration {
	if n, err := strconv.Atoi(value); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// call is one method call of a request (RFC 8620 §3.2); its id is its place in the request.
type call struct {
	method    string
	arguments map[string]any
}

// result is the response to one method call.
type result struct {
	method    string
	arguments json.RawMessage
}

// request sends method calls in one request and gives their responses in the order of the calls.
func (s *Store) request(ctx context.Context, session *session, calls ...call) ([]result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Timeout.duration())
	defer cancel()
	body := map[string]any{"using": []string{coreCapability, mailCapability}}
	var methods [][]any
	for i, c := range calls {
		if strings.HasPrefix(c.method, "EmailSubmission") || strings.HasPrefix(c.method, "Identity") {
			body["using"] = []string{coreCapability, mailCapability, submissionCapability}
		}
		methods = append(methods, []any{c.method, c.arguments, strconv.Itoa(i)})
	}
	body["methodCalls"] = methods
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "encode a request: %w", err)
	}
	response, err := s.do(ctx, session.credential, http.MethodPost, session.APIURL, "application/json", bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return readResponses(io.LimitReader(response.Body, answerMost), calls)
}

func readResponses(body io.Reader, calls []call) ([]result, error) {
	var answer struct {
		MethodResponses []json.RawMessage `json:"methodResponses"`
	}
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return nil, backends.Fail(backends.Temporary, "the response cannot be read: %w", err)
	}
	results := make([]result, len(calls))
	for _, raw := range answer.MethodResponses {
		var parts []json.RawMessage
		var method, id string
		if json.Unmarshal(raw, &parts) != nil || len(parts) != 3 || json.Unmarshal(parts[0], &method) != nil || json.Unmarshal(parts[2], &id) != nil {
			return nil, backends.Fail(backends.Temporary, "the response holds something that is no method response")
		}
		n, err := strconv.Atoi(id)
		if err != nil || n < 0 || n >= len(calls) {
			return nil, backends.Fail(backends.Temporary, "the response answers a call %q that was not made", id)
		}
		if method == "error" {
			return nil, methodFailure(calls[n].method, parts[1])
		}
		if results[n].method == "" { // implicit calls (RFC 8620 §5.4) come after the one asked for
			results[n] = result{method, parts[1]}
		}
	}
	for i, r := range results {
		if r.method == "" {
			return nil, backends.Fail(backends.Temporary, "the response has no answer to %s", calls[i].method)
		}
	}
	return results, nil
}

// setError is an error of a method (RFC 8620 §3.6.2) or of one object (§5.3).
type setError struct {
	Type              string   `json:"type"`
	Description       string   `json:"description"`
	InvalidRecipients []string `json:"invalidRecipients"`
}

var kindsOfError = map[string]backends.Kind{
	"notFound": backends.NotFound, "blobNotFound": backends.NotFound, "accountNotFound": backends.NotFound,
	"overQuota": backends.OverQuota, "tooLarge": backends.TooLarge, "rateLimit": backends.Throttled,
	"forbidden": backends.Permanent, "accountReadOnly": backends.Permanent, "invalidEmail": backends.Permanent,
	"forbiddenFrom": backends.Permanent, "forbiddenMailFrom": backends.Permanent, "forbiddenToSend": backends.Permanent,
	"noRecipients": backends.Permanent, "tooManyRecipients": backends.Permanent, "invalidRecipients": backends.Permanent,
	"unknownMethod": backends.Unsupported, "accountNotSupportedByMethod": backends.Unsupported,
}

func (e setError) failure(what string) *backends.Failure {
	kind, ok := kindsOfError[e.Type]
	if !ok {
		kind = backends.Temporary
	}
	return backends.Fail(kind, "%s: %s %s", what, e.Type, e.Description)
}

func methodFailure(method string, raw json.RawMessage) error {
	var e setError
	if err := json.Unmarshal(raw, &e); err != nil {
		return backends.Fail(backends.Temporary, "%s: an error that cannot be read: %w", method, err)
	}
	return e.failure(method)
}

func (r result) into(v any) error {
	if err := json.Unmarshal(r.arguments, v); err != nil {
		return backends.Fail(backends.Temporary, "%s: %w", r.method, err)
	}
	return nil
}

// expand fills a URL template (RFC 6570 level 1).
func expand(template string, values map[string]string) string {
	for name, value := range values {
		template = strings.ReplaceAll(template, "{"+name+"}", url.QueryEscape(value))
	}
	return template
}

// reference makes a back-reference (RFC 8620 §3.7).
func reference(call int, name, path string) map[string]any {
	return map[string]any{"resultOf": fmt.Sprint(call), "name": name, "path": path}
}
