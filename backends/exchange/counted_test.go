package exchange_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
)

// allOf reads messages that are asked for together.
func allOf(t *testing.T, m backends.Maildrop, request backends.FetchManyRequest) (texts []string) {
	t.Helper()
	all, err := m.(backends.ManyFetcher).FetchMany(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	for range request.IDs {
		c, err := all.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		octets, err := io.ReadAll(c)
		if size := c.Size(); err != nil || size >= 0 && size != int64(len(octets)) {
			t.Fatalf("%d octets of %d, %v", len(octets), size, err)
		}
		_ = c.Close()
		texts = append(texts, string(octets))
	}
	return texts
}

// transfers is how many requests there were that read messages: by MAPI those with RopFastTransferSourceGetBuffer, by EWS any.
func transfers(s *site, protocol string) (n int) {
	if protocol == "ews" {
		return s.Requests()
	}
	for _, call := range s.Calls() {
		if strings.Contains(call, " 4e") {
			n++
		}
	}
	return n
}

// TestCounted: messages that were counted are not asked of the server again, in the form that they were counted in, and come in their order among
// others.
func TestCounted(t *testing.T) {
	for _, protocol := range []string{"mapi", "ews"} {
		t.Run(protocol, func(t *testing.T) { countedBy(t, protocol) })
	}
}

func countedBy(t *testing.T, protocol string) {
	s, store := filled(t, 40, map[string]any{"protocol": protocol})
	m := open(t, store, "")
	ids, _ := list(t, m)
	some := slices.Concat(ids[3:10], ids[12:13], ids[39:])
	counted := allOf(t, m, backends.FetchManyRequest{IDs: some, Counted: true})
	before := transfers(s, protocol)
	if again := allOf(t, m, backends.FetchManyRequest{IDs: some}); !slices.Equal(again, counted) {
		t.Error("they are not the same")
	}
	if got := fetch(t, m, ids[4]); string(got) != counted[1] {
		t.Error("one alone is not the same")
	}
	top := allOf(t, m, backends.FetchManyRequest{IDs: ids[4:5], Top: true})
	if len(top[0]) == 0 || len(top[0]) >= len(counted[1]) || top[0] != counted[1][:len(top[0])] {
		t.Errorf("the top is %q", top)
	}
	if n := transfers(s, protocol) - before; n > 0 {
		t.Errorf("the server is asked again, %d times", n)
	}
	fresh := open(t, store, "")
	want := allOf(t, fresh, backends.FetchManyRequest{IDs: ids})
	if got := allOf(t, m, backends.FetchManyRequest{IDs: ids}); !slices.Equal(got, want) {
		t.Error("of all, those that are kept are in another order, or others")
	}
	before = transfers(s, protocol)
	allOf(t, m, backends.FetchManyRequest{IDs: ids[4:5], Rendering: backends.Rendering{Body: backends.BodyText}})
	if transfers(s, protocol) == before {
		t.Error("another form is given as it was counted")
	}
	if exchange.CountedOctets(store) == 0 {
		t.Error("nothing is kept")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if n := exchange.CountedOctets(store); n != 0 {
		t.Errorf("%d octets are kept of a maildrop that is closed", n)
	}
}

// TestCountedClosed: what is read of a message that is kept ends with its maildrop.
func TestCountedClosed(t *testing.T) {
	_, store := filled(t, 1, nil)
	m := open(t, store, "")
	ids, _ := list(t, m)
	allOf(t, m, backends.FetchManyRequest{IDs: ids, Counted: true})
	c, err := m.Fetch(t.Context(), backends.FetchRequest{ID: ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(c); backends.KindOf(err) != backends.Temporary {
		t.Error(fmt.Sprint("after Close: ", err))
	}
}

// TestCountedBounds: what exceeds the bounds is asked of the server again.
func TestCountedBounds(t *testing.T) {
	const protocol = "mapi"
	s, store := filled(t, 3, nil)
	exchange.FillCounted(store)
	m := open(t, store, "")
	ids, _ := list(t, m)
	want := allOf(t, m, backends.FetchManyRequest{IDs: ids, Counted: true})
	before := transfers(s, protocol)
	if got := allOf(t, m, backends.FetchManyRequest{IDs: ids}); !slices.Equal(got, want) || transfers(s, protocol) == before {
		t.Error("more is kept than there is room for")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if n := exchange.CountedOctets(store); n != exchange.CountedTogether {
		t.Errorf("what was not kept is given back: %d", n)
	}
}
