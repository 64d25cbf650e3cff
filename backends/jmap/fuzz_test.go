package jmap

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// FuzzReadResponse reads what a server may answer: it does not panic, and a response is taken as
// good only if each call has its answer.
func FuzzReadResponse(f *testing.F) {
	for _, seed := range []string{
		`{"sessionState":"1","methodResponses":[["Email/query",{"ids":["a"],"total":1},"0"],["Email/get",{"list":[{"id":"a","size":7}]},"1"]]}`,
		`{"methodResponses":[["error",{"type":"accountNotFound"},"0"],["error",{},"1"]]}`,
		`{"methodResponses":[["Email/query",{},"0"],["Email/set",{},"0"],["Email/get",{},"1"]],"x":[[]]}`,
		`{"methodResponses":[["Email/get",{},"1"],["Email/query",{},"0"]]}`,
		`{"methodResponses":[["Email/query",{"total":1e99},"0"]]}`,
		`[]`, `{"methodResponses":null}`, `{"methodResponses":[[]]}`, "{\"methodResponses\":[[\"Email/query\",{},\"0\",",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var p page
		var list emailList
		calls := []call{{"Email/query", nil, &p}, {"Email/get", nil, &list}}
		if _, err := readResponse(strings.NewReader(body), calls); err != nil {
			return
		}
		var whole struct {
			MethodResponses [][]json.RawMessage `json:"methodResponses"`
		}
		if err := json.Unmarshal([]byte(body), &whole); err == nil && len(whole.MethodResponses) < len(calls) {
			t.Errorf("taken as good: %q", body)
		}
	})
}

// FuzzExpand fills in what a server calls a template with what it calls values: whatever they
// are, a value does not reach beyond its place.
func FuzzExpand(f *testing.F) {
	for _, seed := range [][2]string{{"/d/{blobId}?t={type}", "a/../b"}, {"//{blobId}/", "evil.example"}, {"{", "x"}, {"%{blobId}", "41"}, {"/d/{blobId}/..", ".."}, {"http://x@{blobId}", "{blobId}"}} {
		f.Add(seed[0], seed[1])
	}
	base, err := url.Parse("https://home.example/jmap/session")
	if err != nil {
		f.Fatal(err)
	}
	set := settings{URL: base.String()}
	f.Fuzz(func(t *testing.T, template, value string) {
		r := &resource{base: base}
		u, err := r.expand("/d/{blobId}/end", map[string]string{"blobId": value})
		if err != nil || strings.Count(u.EscapedPath(), "/") != 3 || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%q became %v, %v", value, u, err)
		}
		if u, err = r.expand(template, map[string]string{"blobId": value}); err == nil && set.trusts(u) && !strings.EqualFold(u.Hostname(), "home.example") {
			t.Errorf("%q with %q leads to %s, and is trusted", template, value, u)
		}
	})
}
