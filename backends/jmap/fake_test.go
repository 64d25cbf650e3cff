package jmap_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/jmap"
)

// fake is a JMAP server with one account, which does what a real one cannot be made to do. A
// test replaces what it wants to be otherwise.
type fake struct {
	*httptest.Server
	session map[string]any
	paths   map[string]http.HandlerFunc                 // replaced, by the first part of the path
	methods map[string]func(map[string]any) (any, bool) // replaced; false: it is an error

	mu    sync.Mutex
	mails map[string]string // by id
	calls []string          // of methods, in their order
	state int
	news  string // sessionState
	seen  []*http.Request
}

const user, secret = "ada@peer.example", "a secret of hers"

func startFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{mails: make(map[string]string), paths: make(map[string]http.HandlerFunc), methods: make(map[string]func(map[string]any) (any, bool)), news: "s0"}
	f.session = map[string]any{
		"apiUrl": "/api", "downloadUrl": "/download/{accountId}/{blobId}/{name}?type={type}", "uploadUrl": "/upload/{accountId}/", "state": "s0",
		"primaryAccounts": map[string]string{"urn:ietf:params:jmap:mail": "a1"},
		"accounts":        map[string]any{"a1": map[string]any{"name": "Ada"}},
		"capabilities":    map[string]any{"urn:ietf:params:jmap:core": map[string]any{}},
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// limit sets one of the server's limits.
func (f *fake) limit(name string, value int) {
	f.session["capabilities"].(map[string]any)["urn:ietf:params:jmap:core"].(map[string]any)[name] = value
}

func (f *fake) settings(t *testing.T, more map[string]any) backends.Settings {
	t.Helper()
	set := map[string]any{"url": f.URL + "/session", "plaintext": true}
	for key, value := range more {
		set[key] = value
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return backends.Settings{Store: "peer", Hostname: "gate.example", Domains: []string{"peer.example"}, Raw: raw, StateDir: t.TempDir()}
}

func (f *fake) store(t *testing.T, more map[string]any) *jmap.Store {
	t.Helper()
	s := jmap.New()
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Configure(t.Context(), f.settings(t, more)); err != nil {
		t.Fatal(err)
	}
	return s
}

func ada() backends.Credential {
	return backends.Credential{Kind: backends.CredentialPassword, User: user, Secret: []byte(secret)}
}

func (f *fake) open(t *testing.T, s *jmap.Store) backends.Maildrop {
	t.Helper()
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ada()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = drop.Close() })
	return drop
}

func (f *fake) fill(n int) {
	for i := range n {
		f.mails[fmt.Sprintf("M%06d", i)] = fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i)
	}
}

// count says how often a method was called.
func (f *fake) count(method string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c == method {
			n++
		}
	}
	return n
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, r)
	f.mu.Unlock()
	part := strings.Split(r.URL.Path, "/")[1]
	_, got, ok := r.BasicAuth()
	switch other, replaced := f.paths[part]; {
	case replaced:
		other(w, r)
	case !ok || got != secret:
		w.WriteHeader(http.StatusUnauthorized)
	case part == "session":
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = json.NewEncoder(w).Encode(f.session)
	case part == "api":
		f.api(w, r)
	case part == "download":
		_, _ = io.WriteString(w, f.mail(strings.TrimPrefix(strings.Split(r.URL.Path, "/")[3], "B")))
	case part == "upload":
		n, _ := io.Copy(io.Discard, r.Body)
		_ = json.NewEncoder(w).Encode(map[string]any{"blobId": "B1", "size": n})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (f *fake) mail(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mails[id]
}

func (f *fake) api(w http.ResponseWriter, r *http.Request) {
	var in struct{ MethodCalls [][]any }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var responses []any
	var last any
	for _, call := range in.MethodCalls {
		name, arguments := call[0].(string), call[1].(map[string]any)
		if _, refers := arguments["#ids"]; refers {
			arguments["ids"] = last.(map[string]any)["ids"]
		}
		f.mu.Lock()
		f.calls = append(f.calls, name)
		f.mu.Unlock()
		var good bool
		if last, good = f.call(name, arguments); good {
			responses = append(responses, []any{name, last, call[2]})
		} else {
			responses = append(responses, []any{"error", last, call[2]})
		}
	}
	f.mu.Lock()
	news := f.news
	f.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"sessionState": news, "methodResponses": responses})
}

func (f *fake) call(name string, arguments map[string]any) (any, bool) {
	f.mu.Lock()
	other, ok := f.methods[name]
	f.mu.Unlock()
	if ok {
		return other(arguments)
	}
	switch name {
	case "Mailbox/get":
		return map[string]any{"list": []any{
			map[string]any{"id": "in", "name": "Inbox", "role": "inbox"},
			map[string]any{"id": "out", "name": "Sent", "role": "sent"},
			map[string]any{"id": "bin", "name": "Bin", "role": "trash"},
		}}, true
	case "Identity/get":
		return map[string]any{"list": []any{map[string]any{"id": "i1", "email": user}, map[string]any{"id": "i2", "email": "*@alias.example"}}}, true
	case "Email/query":
		return f.query(arguments), true
	case "Email/get":
		return f.get(arguments), true
	case "Email/set":
		return f.set(arguments), true
	case "Email/import":
		return map[string]any{"created": map[string]any{"m": map[string]any{"id": "Mnew"}}}, true
	}
	return map[string]any{"type": "unknownMethod"}, false
}

func (f *fake) query(arguments map[string]any) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := []any{}
	for id := range f.mails {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	if _, ofKey := arguments["filter"].(map[string]any)["header"]; ofKey {
		ids = nil
	}
	position, limit, total := 0, int(arguments["limit"].(float64)), len(ids)
	if p, ok := arguments["position"].(float64); ok {
		position = min(int(p), total)
	}
	ids = ids[position:min(total, position+limit)]
	return map[string]any{"queryState": strconv.Itoa(f.state), "position": position, "total": total, "ids": ids}
}

func (f *fake) get(arguments map[string]any) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []any{}
	ids, _ := arguments["ids"].([]any)
	for _, id := range ids {
		name, _ := id.(string)
		if m, ok := f.mails[name]; ok {
			list = append(list, map[string]any{
				"id": id, "blobId": "B" + name, "size": len(m), "receivedAt": "2026-11-22T12:00:00Z",
				"keywords": map[string]bool{}, "mailboxIds": map[string]bool{"in": true},
			})
		}
	}
	return map[string]any{"state": strconv.Itoa(f.state), "list": list}
}

func (f *fake) set(arguments map[string]any) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range arguments["destroy"].([]any) {
		delete(f.mails, id.(string))
	}
	f.state++
	return map[string]any{}
}

// remove takes a message away, as another program would.
func (f *fake) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.mails, id)
	f.state++
}

func list(ctx context.Context, drop backends.Maildrop) (ids []backends.MessageID, err error) {
	for e, err := range drop.List(ctx) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, e.ID)
	}
	return ids, nil
}
