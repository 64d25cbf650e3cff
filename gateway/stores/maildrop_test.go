package stores_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// plainDrop is a maildrop with the least; the others are embedded beside it.
type plainDrop struct{ failing error }

func (plainDrop) Opened() backends.Opened { return backends.Opened{FolderID: "inbox"} }
func (p plainDrop) List(context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		_ = yield(backends.Entry{ID: "1"}, nil) && yield(backends.Entry{}, p.failing)
	}
}

func (p plainDrop) Fetch(context.Context, backends.FetchRequest) (backends.Content, error) {
	return nil, p.failing
}

func (p plainDrop) Remove(context.Context, []backends.MessageID, backends.Disposal) ([]backends.Removal, error) {
	return []backends.Removal{{ID: "1"}}, p.failing
}
func (plainDrop) Close() error { return nil }

type manyDrop struct{ failing error }

func (m manyDrop) FetchMany(context.Context, backends.FetchManyRequest) (backends.Contents, error) {
	return nil, m.failing
}

type measureDrop struct{ failing error }

func (m measureDrop) Measure(context.Context, backends.MeasureRequest) iter.Seq2[backends.Measured, error] {
	return func(yield func(backends.Measured, error) bool) {
		_ = yield(backends.Measured{ID: "1"}, nil) && yield(backends.Measured{}, m.failing)
	}
}

type markDrop struct{ failing error }

func (m markDrop) MarkSeen(context.Context, []backends.MessageID) error { return m.failing }

// opening is a store whose maildrop a test gives.
type opening struct {
	fakeStore
	drop backends.Maildrop
}

func (o *opening) Open(context.Context, backends.OpenRequest) (backends.Maildrop, error) {
	return o.drop, nil
}

// TestMaildropPasses: a maildrop has behind the middleware what it has before it, and no more; each call
// passes, with the session of Open.
func TestMaildropPasses(t *testing.T) {
	why := errors.New("the store's")
	p, f, s, m := plainDrop{why}, manyDrop{why}, measureDrop{why}, markDrop{why}
	for calls, drop := range map[string]backends.Maildrop{
		"": p,
		"FetchMany": struct {
			plainDrop
			manyDrop
		}{p, f},
		"Measure": struct {
			plainDrop
			measureDrop
		}{p, s},
		"MarkSeen": struct {
			plainDrop
			markDrop
		}{p, m},
		"FetchMany Measure": struct {
			plainDrop
			manyDrop
			measureDrop
		}{p, f, s},
		"FetchMany MarkSeen": struct {
			plainDrop
			manyDrop
			markDrop
		}{p, f, m},
		"Measure MarkSeen": struct {
			plainDrop
			measureDrop
			markDrop
		}{p, s, m},
		"FetchMany Measure MarkSeen": struct {
			plainDrop
			manyDrop
			measureDrop
			markDrop
		}{p, f, s, m},
	} {
		t.Run(calls, func(t *testing.T) {
			var told []string
			note := func(ctx context.Context, call stores.Call, next func(context.Context) error) error {
				err := next(ctx)
				told = append(told, fmt.Sprint(call.Store, " ", call.Name, " ", call.Session, " ", err))
				return err
			}
			table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(&opening{drop: drop}), note))
			credential := backends.Credential{Peer: backends.Peer{Session: "s1"}}
			got, err := table.StoreFor("sakes.example").Reader.Open(t.Context(), backends.OpenRequest{Credential: credential})
			if err != nil {
				t.Fatal(err)
			}
			if got.Opened().FolderID != "inbox" {
				t.Error("another maildrop was opened")
			}
			want := []string{"Open <nil>", "List the store's", "Fetch the store's", "Remove the store's"}
			n := 0
			for range got.List(t.Context()) {
				n++
			}
			_, fetched := got.Fetch(t.Context(), backends.FetchRequest{})
			removals, removed := got.Remove(t.Context(), nil, 0)
			if n != 2 || !errors.Is(fetched, why) || !errors.Is(removed, why) || len(removals) != 1 {
				t.Errorf("%d entries, %v, %v", n, fetched, removed)
			}
			many, has := got.(backends.ManyFetcher)
			if has != strings.Contains(calls, "FetchMany") {
				t.Error("FetchMany:", has)
			} else if has {
				_, err := many.FetchMany(t.Context(), backends.FetchManyRequest{})
				want = append(want, fmt.Sprint("FetchMany ", err))
			}
			measurer, has := got.(backends.Measurer)
			if has != strings.Contains(calls, "Measure") {
				t.Error("Measure:", has)
			} else if has {
				for range measurer.Measure(t.Context(), backends.MeasureRequest{}) {
					break // the call ends with whoever has enough
				}
				want = append(want, "Measure <nil>")
			}
			marker, has := got.(backends.Marker)
			if has != strings.Contains(calls, "MarkSeen") {
				t.Error("MarkSeen:", has)
			} else if has {
				want = append(want, fmt.Sprint("MarkSeen ", marker.MarkSeen(t.Context(), nil)))
			}
			for i := range want {
				name, outcome, _ := strings.Cut(want[i], " ")
				want[i] = "sakes " + name + " s1 " + outcome
			}
			if strings.Join(told, "\n") != strings.Join(want, "\n") {
				t.Errorf("told\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestBrokenOff: who breaks off a sequence hears nothing more of it, although a middleware fails then; who does
// not hears of that.
func TestBrokenOff(t *testing.T) {
	fails := errors.New("the middleware's")
	failing := func(ctx context.Context, call stores.Call, next func(context.Context) error) error {
		if err := next(ctx); err != nil || call.Name == "Open" {
			return err
		}
		return fails
	}
	drop := struct {
		plainDrop
		measureDrop
	}{}
	table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(&opening{drop: drop}), failing))
	got, err := table.StoreFor("sakes.example").Reader.Open(t.Context(), backends.OpenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for most, want := range map[int]error{1: nil, 9: fails} {
		if err := lastOf(got.List(t.Context()), most); !errors.Is(err, want) {
			t.Errorf("List, %d at most: %v", most, err)
		}
		if err := lastOf(got.(backends.Measurer).Measure(t.Context(), backends.MeasureRequest{}), most); !errors.Is(err, want) {
			t.Errorf("Measure, %d at most: %v", most, err)
		}
	}
}

// lastOf is the error of the last item of a sequence, which is broken off after so many.
func lastOf[T any](items iter.Seq2[T, error], most int) (last error) {
	n := 0
	for _, err := range items {
		last = err
		if n++; n == most {
			break
		}
	}
	return last
}
