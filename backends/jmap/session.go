package jmap

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

const (
	coreCapability       = "urn:ietf:params:jmap:core"
	mailCapability       = "urn:ietf:params:jmap:mail"
	submissionCapability = "urn:ietf:params:jmap:submission"
)

// resource is the session resource (RFC 8620 §2).
type resource struct {
	Capabilities struct {
		Core limits `json:"urn:ietf:params:jmap:core"`
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
	State           string            `json:"state"`

	base *url.URL // where it was found: its URLs may be relative to that
}

// limits are the server's (RFC 8620 §2).
type limits struct {
	ObjectsInGet       int64 `json:"maxObjectsInGet"`
	ObjectsInSet       int64 `json:"maxObjectsInSet"`
	CallsInRequest     int64 `json:"maxCallsInRequest"`
	SizeRequest        int64 `json:"maxSizeRequest"`
	SizeUpload         int64 `json:"maxSizeUpload"`
	ConcurrentRequests int64 `json:"maxConcurrentRequests"`
	ConcurrentUpload   int64 `json:"maxConcurrentUpload"`
}

// orSuggested puts what RFC 8620 suggests as the least where a server does not tell a limit.
func (l *limits) orSuggested() {
	for limit, suggested := range map[*int64]int64{
		&l.ObjectsInGet: 500, &l.ObjectsInSet: 500, &l.CallsInRequest: 16, &l.SizeRequest: 10e6,
		&l.SizeUpload: 50e6, &l.ConcurrentRequests: 4, &l.ConcurrentUpload: 4,
	} {
		if *limit <= 0 {
			*limit = suggested
		}
	}
}

// idOctets is more than an id takes in a request: 255 octets (RFC 8620 §1.2) and what is around it.
const idOctets = 320

// batch is how many objects a request may be about: not more than most and the server's limit
// for the method, and as many as fit in a request.
func (l *limits) batch(most, limit int64) int {
	return int(max(1, min(most, limit, (l.SizeRequest-2048)/idOctets)))
}

// session is a login at the server.
type session struct {
	store      *Store
	credential backends.Credential
	account    string // id of the account that has the mail

	refreshing chan struct{} // holds one while nobody refreshes
	mu         sync.Mutex
	current    *resource
	told       string // the last sessionState that an answer had (RFC 8620 §3.4)
	asked      string // the last sessionState for which the resource was fetched again
}

// resourceMost bounds the session resource: it lists the accounts that a login may use.
const resourceMost = 4 << 20

// fetchResource fetches the session resource.
func (s *Store) fetchResource(ctx context.Context, c backends.Credential) (*resource, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	target, err := url.Parse(s.settings.URL)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "url: %w", err)
	}
	const what = "fetch the session resource"
	response, err := s.do(ctx, c, exchange{what: what, method: http.MethodGet, target: target})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	r := &resource{base: response.Request.URL}
	if err := json.NewDecoder(io.LimitReader(response.Body, resourceMost)).Decode(r); err != nil {
		return nil, backends.Fail(backends.Temporary, "%s: it cannot be read (is \"url\" right?): %w", what, err)
	}
	r.Capabilities.Core.orSuggested()
	for _, template := range []string{r.APIURL, r.DownloadURL, r.UploadURL} {
		if u, err := r.expand(template, nil); err != nil {
			return nil, err
		} else if !s.settings.trusts(u) {
			return nil, backends.Fail(backends.Temporary, "%s: it names %s://%s, which is neither the server itself nor among \"hosts\"", what, u.Scheme, u.Host)
		}
	}
	return r, nil
}

// open logs in.
func (s *Store) openSession(ctx context.Context, c backends.Credential) (*session, error) {
	r, err := s.fetchResource(ctx, c)
	if err != nil {
		return nil, err
	}
	opened := &session{store: s, credential: c, account: r.PrimaryAccounts[mailCapability], current: r, refreshing: make(chan struct{}, 1)}
	opened.refreshing <- struct{}{}
	if opened.account == "" {
		return nil, backends.Fail(backends.Permanent, "the login has no account with mail").Say("this login has no mailbox")
	}
	return opened, nil
}

// heard notes the sessionState of an answer.
func (s *session) heard(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != "" {
		s.told = state
	}
}

// resource gives the session resource, fetched again if the server has said that it changed. It
// is fetched once for a state, even if it then says another.
func (s *session) resource(ctx context.Context) (*resource, error) {
	stale := func() (bool, string, *resource) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.told != "" && s.told != s.current.State && s.told != s.asked, s.told, s.current
	}
	is, _, current := stale()
	if !is {
		return current, nil
	}
	select {
	case <-s.refreshing:
		defer func() { s.refreshing <- struct{}{} }()
	case <-ctx.Done():
		return nil, backends.Fail(backends.Temporary, "the session resource: %w", context.Cause(ctx))
	}
	is, state, current := stale() // somebody else may have been here before
	if !is {
		return current, nil
	}
	fresh, err := s.store.fetchResource(ctx, s.credential)
	if err != nil {
		return nil, err
	}
	if _, ok := fresh.Accounts[s.account]; !ok {
		return nil, backends.Fail(backends.Permanent, "the login has lost the account %q", s.account).Say("this login has no mailbox any more")
	}
	s.mu.Lock()
	s.current, s.asked = fresh, state
	s.mu.Unlock()
	return fresh, nil
}

// expand fills in a URL template (RFC 6570 level 1); a variable without a value is empty.
func (r *resource) expand(template string, values map[string]string) (*url.URL, error) {
	var b strings.Builder
	for rest := template; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		b.WriteString(literal)
		name, behind, closed := strings.Cut(after, "}")
		if found && !closed {
			return nil, backends.Fail(backends.Temporary, "the session resource has a URL that is no template: %q", template)
		}
		b.WriteString(escape(values[name]))
		rest = behind
	}
	u, err := r.base.Parse(b.String())
	if err != nil || template == "" {
		return nil, backends.Fail(backends.Temporary, "the session resource has a URL that is none: %q", template)
	}
	return u, nil
}

// escape leaves unreserved characters as they are (RFC 6570 §3.2.2, RFC 3986 §2.3): a blank is
// %20, not the + of forms. A value that is . or .. would be taken for a part of the path.
func escape(value string) string {
	if value == "." || value == ".." {
		return strings.ReplaceAll(value, ".", "%2E")
	}
	var b strings.Builder
	for _, c := range []byte(value) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteString("%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
		}
	}
	return b.String()
}
