package jmap_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestOddEntries: what is odd about one message in the server's answers costs no more than that
// message, and mostly not even it.
func TestOddEntries(t *testing.T) {
	const kept, leftOut, poison = "kept", "left out", "poison"
	set := func(name string, value any) func(map[string]any) any {
		return func(e map[string]any) any {
			if e[name] = value; value == "delete" {
				delete(e, name)
			}
			return e
		}
	}
	instead := func(value any) func(map[string]any) any { return func(map[string]any) any { return value } }
	for name, c := range map[string]struct {
		change func(map[string]any) any // of the entry of M000001
		want   string
	}{
		"size missing":            {set("size", "delete"), kept},
		"size null":               {set("size", nil), kept},
		"size a text":             {set("size", "31"), kept},
		"size negative":           {set("size", -1), kept},
		"size of nothing":         {set("size", 0), kept},
		"size with a fraction":    {set("size", 31.5), kept},
		"size too large":          {set("size", 1e30), kept},
		"date missing":            {set("receivedAt", "delete"), kept},
		"date null":               {set("receivedAt", nil), kept},
		"date a number":           {set("receivedAt", 1795972615), kept},
		"date that is none":       {set("receivedAt", "yesterday, I think"), kept},
		"date of the year 1":      {set("receivedAt", "0001-01-01T00:00:00Z"), kept},
		"keywords missing":        {set("keywords", "delete"), kept},
		"keywords null":           {set("keywords", nil), kept},
		"keywords a list":         {set("keywords", []string{"$seen"}), kept},
		"keywords odd":            {set("keywords", map[string]any{"a]b": true, "[ x": true, `"`: true, "$seen": "yes", "": 7}), kept},
		"mailboxes missing":       {set("mailboxIds", "delete"), kept},
		"mailboxes null":          {set("mailboxIds", nil), kept},
		"mailboxes with more":     {set("mailboxIds", map[string]any{"in": true, "x": 7}), kept},
		"properties nobody wants": {set("bodyValues", []any{map[string]any{}}), kept},
		"blob missing":            {set("blobId", "delete"), poison},
		"blob null":               {set("blobId", nil), poison},
		"blob a number":           {set("blobId", 7), poison},
		"id missing":              {set("id", "delete"), leftOut},
		"id null":                 {set("id", nil), leftOut},
		"entry null":              {instead(nil), leftOut},
		"entry a number":          {instead(7), leftOut},
		"entry a list":            {instead([]any{}), leftOut},
		"refused":                 {nil, leftOut},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t)
			f.fill(7)
			f.methods["Email/get"] = func(arguments map[string]any) (any, bool) {
				got := f.get(arguments).(map[string]any)
				list := got["list"].([]any)
				for i, e := range list {
					entry := e.(map[string]any)
					if entry["id"] != "M000001" {
						continue
					}
					if c.change == nil {
						return map[string]any{"type": "serverFail"}, false
					}
					list[i] = c.change(entry)
				}
				got["notFound"] = []any{}
				return got, true
			}
			drop := f.open(t, f.store(t, nil))
			ids, err := list(t.Context(), drop)
			if err != nil {
				t.Fatal(err)
			}
			listed := make(map[backends.MessageID]bool)
			for _, id := range ids {
				listed[id] = true
			}
			if len(ids) < 6 || listed["M000001"] != (c.want != leftOut) {
				t.Errorf("listed are %v", ids)
			}
			var all sync.WaitGroup
			for id, content := range f.mails {
				all.Go(func() {
					got, err := drain(t, drop, backends.MessageID(id))
					if id == "M000001" && c.want != kept {
						if backends.KindOf(err) == backends.NotFound || err == nil {
							t.Errorf("the odd one: %q, %v", got, err)
						}
					} else if err != nil || got != content {
						t.Errorf("%s: %q, %v", id, got, err)
					}
				})
			}
			all.Wait()
		})
	}
}

func drain(t *testing.T, drop backends.Maildrop, id backends.MessageID) (string, error) {
	content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: id})
	if err != nil {
		return "", err
	}
	defer content.Close()
	got, err := io.ReadAll(content)
	return string(got), err
}

// TestOddIDs: ids that are none are left out, and what else is listed stays.
func TestOddIDs(t *testing.T) {
	f := startFake(t)
	f.fill(3)
	f.methods["Email/query"] = func(map[string]any) (any, bool) {
		return map[string]any{"queryState": "1", "position": 0, "total": 6, "ids": []any{"M000000", 7, "../x", "M000001", nil, "M000002"}}, true
	}
	ids, err := list(t.Context(), f.open(t, f.store(t, nil)))
	if err != nil || fmt.Sprint(ids) != "[M000000 M000001 M000002]" {
		t.Errorf("%v, %v", ids, err)
	}
}

// TestCutIsNoEnd: a message of which much lacks is never passed off as whole, whatever came before it,
// and that says nothing of the others (I3).
func TestCutIsNoEnd(t *testing.T) {
	line := strings.Repeat("x", 98) + "\r\n"
	whole := "Subject: x\r\n\r\n" + strings.Repeat(line, 5000)
	for name, c := range map[string]struct {
		size, cut int // octets of it, and those that come
		whole     bool
	}{
		"a half":                  {1000, 500, false},
		"a half of a long one":    {400_000, 200_000, false},
		"a little":                {200_000, 199_000, true},
		"a little more":           {200_000, 198_900, false},
		"a little of a short one": {1000, 980, false},
		"a little of a long one":  {400_000, 399_000, true},
		"more of a long one":      {400_000, 398_000, false},
		"the last line's end":     {1000, 998, true},
		"nothing":                 {1000, 1000, true},
		"nothing of a long one":   {400_000, 400_000, true},
		"all of it":               {1000, 0, false},
		"all of a long one":       {400_000, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t)
			f.fill(3)
			f.mails["Mcut"] = whole[:c.size]
			f.paths["download"] = func(w http.ResponseWriter, r *http.Request) {
				id := strings.TrimPrefix(strings.Split(r.URL.Path, "/")[3], "B")
				content := f.mail(id)
				if id == "Mcut" {
					content = content[:c.cut]
				}
				_, _ = io.WriteString(w, content)
			}
			s := f.store(t, nil)
			for range 3 { // nothing that was seen lowers the guard
				drop := f.open(t, s)
				if _, err := list(t.Context(), drop); err != nil {
					t.Fatal(err)
				}
				for id, content := range f.mails {
					got, err := drain(t, drop, backends.MessageID(id))
					switch {
					case id == "Mcut" && !c.whole:
						if backends.KindOf(err) != backends.Poison {
							t.Errorf("%d octets of it came, and %v", len(got), err)
						}
					case err != nil || id != "Mcut" && got != content:
						t.Errorf("%s: %d octets of %d, %v", id, len(got), len(content), err)
					}
				}
			}
		})
	}
}

// TestLostConnections: one that is lost, whoever's answer it was to bring, is opened again once.
func TestLostConnections(t *testing.T) {
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, part := range []string{"api", "download"} {
		t.Run(part, func(t *testing.T) {
			f := startFake(t)
			f.fill(30)
			drop := f.open(t, f.store(t, nil))
			if _, err := list(t.Context(), drop); err != nil {
				t.Fatal(err)
			}
			serve := http.HandlerFunc(f.api)
			if part == "download" {
				serve = func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, f.mail(strings.TrimPrefix(strings.Split(r.URL.Path, "/")[3], "B")))
				}
			}
			f.paths[part] = once(serve, once(abort, serve)) // the second request's answer is lost
			for i := range 30 {
				id := fmt.Sprintf("M%06d", i)
				if got, err := drain(t, drop, backends.MessageID(id)); err != nil || got != f.mail(id) {
					t.Errorf("%s: %q, %v", id, got, err)
				}
			}
		})
	}
}
