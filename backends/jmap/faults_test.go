package jmap_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// TestRefusals: what a server answers to the API's requests in the middle of a session, and what
// that is told as.
func TestRefusals(t *testing.T) {
	const problem = "urn:ietf:params:jmap:error:"
	later := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	for name, c := range map[string]struct {
		status  int
		header  map[string]string
		body    string
		kind    backends.Kind
		atLeast time.Duration // of RetryAfter
		atMost  time.Duration
	}{
		"401":                   {401, nil, "", backends.BadCredentials, 0, 0},
		"403":                   {403, nil, "", backends.Permanent, 0, 0},
		"404":                   {404, nil, "", backends.Temporary, 0, 0},
		"413":                   {413, nil, "", backends.TooLarge, 0, 0},
		"429 in seconds":        {429, map[string]string{"Retry-After": "7"}, "", backends.Throttled, 7 * time.Second, 7 * time.Second},
		"429 at a time":         {429, map[string]string{"Retry-After": later}, "", backends.Throttled, 60 * time.Second, 90 * time.Second},
		"429 for ever":          {429, map[string]string{"Retry-After": "18446744073709551615"}, "", backends.Throttled, 24 * time.Hour, 24 * time.Hour},
		"429 nonsense":          {429, map[string]string{"Retry-After": "-5"}, "", backends.Throttled, 0, 0},
		"500":                   {500, nil, "", backends.Temporary, 0, 0},
		"503":                   {503, map[string]string{"Retry-After": "3"}, "", backends.Temporary, 3 * time.Second, 3 * time.Second},
		"507":                   {507, nil, "", backends.OverQuota, 0, 0},
		"too many at once":      {400, nil, `{"type": "` + problem + `limit", "limit": "maxConcurrentRequests"}`, backends.Throttled, 0, 0},
		"upload too large":      {400, nil, `{"type": "` + problem + `limit", "limit": "maxSizeUpload"}`, backends.TooLarge, 0, 0},
		"unknown capability":    {400, nil, `{"type": "` + problem + `unknownCapability"}`, backends.Unsupported, 0, 0},
		"not JSON":              {400, nil, `{"type": "` + problem + `notJSON"}`, backends.Temporary, 0, 0},
		"a problem that is odd": {400, nil, `{"type": 7}`, backends.Temporary, 0, 0},
		"not an answer":         {200, nil, `<html>`, backends.Temporary, 0, 0},
		"half an answer":        {200, nil, `{"methodResponses": [["Email/query", {`, backends.Temporary, 0, 0},
		"nothing answered":      {200, nil, `{"methodResponses": []}`, backends.Temporary, 0, 0},
		"a method's error":      {200, nil, `{"methodResponses": [["error", {"type": "rateLimit"}, "0"], ["error", {"type": "invalidResultReference"}, "1"]]}`, backends.Throttled, 0, 0},
		"without end":           {200, nil, `{"x": "` + strings.Repeat("x", 17<<20), backends.Temporary, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			drop := f.open(t, f.store(t, nil))
			f.mu.Lock()
			f.paths["api"] = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
				for key, value := range c.header {
					w.Header().Set(key, value)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}
			f.mu.Unlock()
			_, err := list(t.Context(), drop)
			failure := backends.AsFailure(err)
			if failure == nil || failure.Kind != c.kind || failure.RetryAfter < c.atLeast || failure.RetryAfter > c.atMost {
				t.Fatalf("got %v, after %v", err, failure.RetryAfter)
			}
			if strings.Contains(failure.Detail, secret) || strings.Contains(failure.Text, "urn:") {
				t.Errorf("it is told too much: %q, %q", failure.Detail, failure.Text)
			}
		})
	}
}

// once answers the first request in one way and those after it in another.
func once(first, rest http.HandlerFunc) http.HandlerFunc {
	var asked atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			first(w, r)
			return
		}
		rest(w, r)
	}
}

// TestBlobs: a part of a message is never passed off as the whole (I3), whatever ends it.
func TestBlobs(t *testing.T) {
	const whole = "Subject: x\r\n\r\nThe whole of it.\r\n"
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}
	stalled := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		_, _ = io.WriteString(w, whole[:10])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	for name, c := range map[string]struct {
		download http.HandlerFunc
		kinds    [2]backends.Kind // of the first and of the second attempt; 0: the message came
	}{
		"good":                       {raw("HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n" + whole), [2]backends.Kind{}},
		"cut short of its length":    {raw("HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n" + whole[:20]), [2]backends.Kind{backends.Temporary, backends.Temporary}},
		"cut in a chunk":             {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + whole[:20]), [2]backends.Kind{backends.Temporary, backends.Temporary}},
		"cut after a chunk":          {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n" + whole[:20] + "\r\n"), [2]backends.Kind{backends.Temporary, backends.Temporary}},
		"cut, and nothing tells":     {raw("HTTP/1.0 200 OK\r\n\r\n" + whole[:20]), [2]backends.Kind{backends.Temporary, backends.Temporary}},
		"whole, and nothing tells":   {raw("HTTP/1.0 200 OK\r\n\r\n" + whole), [2]backends.Kind{}},
		"shorter than it was said":   {raw("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + whole[:14]), [2]backends.Kind{backends.Poison, backends.Poison}},
		"nothing":                    {raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), [2]backends.Kind{backends.Poison, backends.Poison}},
		"cut once, and then whole":   {once(raw("HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n"+whole[:20]), raw("HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n"+whole)), [2]backends.Kind{}},
		"short once, and then whole": {once(raw("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n"+whole[:14]), raw("HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n"+whole)), [2]backends.Kind{}},
		"lost once, and then whole":  {once(raw(""), raw("HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n"+whole)), [2]backends.Kind{}},
		"longer than it was said":    {raw("HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n" + whole + "more"), [2]backends.Kind{}},
		"with line ends that are LF": {raw("HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n" + strings.Replace(whole, "\r\n", " \n", 1)), [2]backends.Kind{}},
		"not there any more":         {raw("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), [2]backends.Kind{backends.Poison, backends.Poison}},
		"refused":                    {raw("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), [2]backends.Kind{backends.BadCredentials, backends.BadCredentials}},
		"throttled":                  {raw("HTTP/1.1 429 Later\r\nContent-Length: 0\r\n\r\n"), [2]backends.Kind{backends.Throttled, backends.Throttled}},
		"stalled":                    {stalled, [2]backends.Kind{backends.Temporary, backends.Temporary}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			f.mails["M1"] = whole
			f.paths["download"] = c.download
			drop := f.open(t, f.store(t, map[string]any{"timeout": "1s"}))
			if _, err := list(t.Context(), drop); err != nil {
				t.Fatal(err)
			}
			for attempt, want := range c.kinds {
				content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "M1"})
				var got []byte
				size := int64(-1)
				if err == nil {
					size = content.Size()
					got, err = io.ReadAll(content)
					_ = content.Close()
				}
				if backends.KindOf(err) != want || err == nil && size >= 0 && size != int64(len(got)) {
					t.Errorf("attempt %d: %q of %d octets, %v; wanted %q", attempt+1, got, size, err, want)
				}
			}
		})
	}
}

// TestListWhileItChanges: whatever goes from the first page while the second is asked for, each
// message that stays is listed, once.
func TestListWhileItChanges(t *testing.T) {
	for name, changes := range map[string]int{"once": 1, "some times": 5, "always": 1000} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t)
			f.fill(200)
			f.limit("maxObjectsInGet", 10)
			left := changes
			f.methods["Email/query"] = func(arguments map[string]any) (any, bool) {
				got := f.query(arguments)
				if arguments["position"].(float64) == 10 && left > 0 {
					f.remove(fmt.Sprintf("M%06d", changes-left)) // the next page begins one further on
					left--
				}
				return got, true
			}
			ids, err := list(t.Context(), f.open(t, f.store(t, nil)))
			if changes == 1000 {
				if backends.KindOf(err) != backends.Temporary {
					t.Errorf("a list that never stays: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(ids)
			if len(ids) != len(slices.Compact(ids)) {
				t.Error("a message is listed twice")
			}
			for id := range f.mails {
				if !slices.Contains(ids, backends.MessageID(id)) {
					t.Errorf("%s is not listed", id)
				}
			}
		})
	}
}

// TestListThatLies: a list that cannot be true is an error, and not a short list, nor one without end.
func TestListThatLies(t *testing.T) {
	for name, answer := range map[string]map[string]any{
		"fewer than it says":  {"queryState": "1", "position": 0, "total": 5, "ids": []any{}},
		"an id that is none":  {"queryState": "1", "position": 0, "total": 1, "ids": []any{"../x"}},
		"somewhere else":      {"queryState": "1", "position": 7, "total": 8, "ids": []any{"M1"}},
		"the same for ever":   {"queryState": "1", "position": 0, "total": 1 << 40, "ids": []any{"M1"}},
		"ids that are no ids": {"queryState": "1", "position": 0, "total": 1, "ids": []any{7}},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t)
			f.mails["M1"], f.mails["../x"] = "x", "x"
			f.methods["Email/query"] = func(map[string]any) (any, bool) { return answer, true }
			if ids, err := list(t.Context(), f.open(t, f.store(t, nil))); backends.KindOf(err) != backends.Temporary {
				t.Errorf("got %d messages, %v", len(ids), err)
			}
		})
	}
}

// TestLimits: the limits that the session resource tells are kept.
func TestLimits(t *testing.T) {
	f := startFake(t)
	f.fill(23)
	for name, value := range map[string]int{"maxObjectsInGet": 4, "maxObjectsInSet": 3, "maxConcurrentRequests": 2, "maxSizeUpload": 1000} {
		f.limit(name, value)
	}
	var under, most atomic.Int64
	for name, limit := range map[string]int{"Email/get": 4, "Email/set": 3} {
		f.methods[name] = func(arguments map[string]any) (any, bool) {
			most.Store(max(most.Load(), under.Add(1)))
			defer under.Add(-1)
			time.Sleep(time.Millisecond) // so that requests meet, if they may
			objects, _ := arguments["ids"].([]any)
			if name == "Email/set" {
				objects = arguments["destroy"].([]any)
			}
			if len(objects) > limit {
				return map[string]any{"type": "requestTooLarge"}, false
			}
			if name == "Email/set" {
				return f.set(arguments), true
			}
			return f.get(arguments), true
		}
	}
	s := f.store(t, map[string]any{"delivery": map[string]any{"accounts": map[string]string{user: secret}}})
	done := make(chan error)
	for range 6 {
		drop := f.open(t, s)
		go func() {
			_, err := list(t.Context(), drop)
			done <- err
		}()
	}
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := most.Load(); n > 2 {
		t.Errorf("%d requests were under way at once", n)
	}
	drop := f.open(t, s)
	ids, err := list(t.Context(), drop)
	if err != nil || len(ids) != 23 {
		t.Fatalf("%d messages, %v", len(ids), err)
	}
	removals, err := drop.Remove(t.Context(), ids, backends.DisposalRemove)
	if err != nil || len(removals) != 23 || len(f.mails) != 0 {
		t.Errorf("%v, %v, %d are left", removals, err, len(f.mails))
	}
	d := backends.Delivery{Key: "k", Envelope: backends.Envelope{From: "x@far.example"}, Recipients: backends.To(user)}
	verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(strings.Repeat("x", 998)+"\r\n"))
	if err != nil || verdicts[0].Failure == nil || verdicts[0].Failure.Kind != backends.TooLarge {
		t.Errorf("a message larger than maxSizeUpload: %+v, %v", verdicts, err)
	}
	f.limit("maxCallsInRequest", 1)
	if _, err := list(t.Context(), f.open(t, f.store(t, nil))); backends.KindOf(err) != backends.Unsupported {
		t.Errorf("a server that takes one call: %v", err)
	}
}

// TestRemoveLooksAgain: a message that has been filed elsewhere, too, after it was looked at, is
// not destroyed.
func TestRemoveLooksAgain(t *testing.T) {
	f := startFake(t)
	f.fill(1)
	mismatches := 0
	f.methods["Email/set"] = func(arguments map[string]any) (any, bool) {
		if arguments["ifInState"] == "0" {
			mismatches++
			f.mu.Lock()
			f.state++
			f.mu.Unlock()
			return map[string]any{"type": "stateMismatch"}, false
		}
		return f.set(arguments), true
	}
	drop := f.open(t, f.store(t, nil))
	removals, err := drop.Remove(t.Context(), []backends.MessageID{"M000000", "gone", "no id!"}, backends.DisposalRemove)
	if err != nil || mismatches != 1 || len(f.mails) != 0 {
		t.Errorf("%v, %v; %d mismatches, %d left", removals, err, mismatches, len(f.mails))
	}
	for _, r := range removals {
		if r.Failure != nil {
			t.Errorf("%s: %v", r.ID, r.Failure)
		}
	}
}

// TestManyMessages: however many messages there are, they take no more memory than what is remembered of each.
func TestManyMessages(t *testing.T) {
	const many = 30_000
	f := startFake(t)
	f.methods["Email/query"] = func(arguments map[string]any) (any, bool) {
		position := int(arguments["position"].(float64))
		ids := []any{}
		for i := position; i < min(many, position+int(arguments["limit"].(float64))); i++ {
			ids = append(ids, fmt.Sprintf("M%06d", i))
		}
		return map[string]any{"queryState": "1", "position": position, "total": many, "ids": ids}, true
	}
	f.methods["Email/get"] = func(arguments map[string]any) (any, bool) {
		all := []any{}
		for _, id := range arguments["ids"].([]any) {
			all = append(all, map[string]any{"id": id, "blobId": "G0123456789012345678901234567890123456789" + id.(string), "size": 1000, "mailboxIds": map[string]bool{"in": true}})
		}
		return map[string]any{"list": all}, true
	}
	f.limit("maxObjectsInGet", 1<<30) // the server would give all at once
	drop := f.open(t, f.store(t, nil))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for _, err := range drop.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	if n != many || grown > 500*many {
		t.Errorf("%d messages are listed, and %d octets of each are kept", n, grown/many)
	}
	if pages := f.count("Email/query"); pages < many/5000 {
		t.Errorf("they came in %d pages", pages)
	}
	runtime.KeepAlive(drop)
}

// TestRemovalNotTold: a message that the server says nothing of has not been removed unless it is gone.
func TestRemovalNotTold(t *testing.T) {
	for name, answer := range map[string]any{
		"nothing said":     map[string]any{},
		"null":             map[string]any{"destroyed": nil, "updated": nil, "notDestroyed": nil},
		"another one said": map[string]any{"destroyed": []string{"M000000", "M000777"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t)
			f.fill(3)
			f.methods["Email/set"] = func(map[string]any) (any, bool) {
				f.remove("M000000")
				return answer, true
			}
			drop := f.open(t, f.store(t, nil))
			removals, err := drop.Remove(t.Context(), []backends.MessageID{"M000000", "M000001"}, backends.DisposalRemove)
			if err != nil || removals[0].Failure != nil || kindOf(removals[1].Failure) != backends.Temporary {
				t.Errorf("%v, %v", removals, err)
			}
		})
	}
}
