package exchange_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	double "github.com/dipylon/dipylon/test/exchange"
)

// TestWebRemovalRefused: a message is told as removed where the server has removed it or does not have it, and not where it lacks
// something else, such as the folder to move it to.
func TestWebRemovalRefused(t *testing.T) {
	s, store := byEWS(t, 1, nil)
	for _, test := range []struct {
		code    string
		removed bool
	}{
		{"ErrorItemNotFound", true},
		{"ErrorToFolderNotFound", false},
		{"ErrorFolderNotFound", false},
		{"ErrorInvalidIdMalformed", false},
		{"ErrorMailRecipientNotFound", false},
	} {
		m := open(t, store, "")
		ids, _ := list(t, m)
		s.Twist("DeleteItem", 1, double.Twist{Undone: true, Edit: func(string) string {
			return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages"><s:Body>` +
				`<m:DeleteItemResponse><m:ResponseMessages><m:DeleteItemResponseMessage ResponseClass="Error"><m:ResponseCode>` + test.code +
				`</m:ResponseCode></m:DeleteItemResponseMessage></m:ResponseMessages></m:DeleteItemResponse></s:Body></s:Envelope>`
		}})
		removals, err := m.Remove(t.Context(), ids, backends.DisposalTrash)
		if err != nil || len(removals) != 1 || (removals[0].Failure == nil) != test.removed {
			t.Errorf("%s: %v, %v", test.code, removals, err)
		}
		if err == nil && removals[0].Failure != nil && removals[0].Failure.Kind == backends.NotFound {
			t.Errorf("%s: told as a message that is gone: %v", test.code, removals[0].Failure)
		}
	}
}

// TestWebOtherItem: a message that was not asked for is not taken for the one that was.
func TestWebOtherItem(t *testing.T) {
	s, store := byEWS(t, 3, nil)
	m := open(t, store, "")
	ids, _ := list(t, m)
	message := regexp.MustCompile(`(?s)<m:GetItemResponseMessage.*?</m:GetItemResponseMessage>`)
	swapped := func(reply string) string {
		all := message.FindAllString(reply, -1)
		if len(all) < 2 {
			return reply
		}
		slices.Reverse(all)
		n := 0
		return message.ReplaceAllStringFunc(reply, func(string) string { n++; return all[n-1] })
	}
	s.Twist("GetItem", 1, double.Twist{Edit: swapped})
	texts, failures := many(t, m, ids)
	for i := range ids {
		if failures[i] != nil || texts[i] != numbered(i) {
			t.Errorf("message %d: %.60q, %v", i, texts[i], failures[i])
		}
	}
	var other string
	s.Twist("GetItem", 1, double.Twist{Edit: func(reply string) string { other = reply; return reply }})
	fetch(t, m, ids[2])
	s.Twist("GetItem", 10, double.Twist{Edit: func(string) string { return other }})
	if c, err := m.Fetch(t.Context(), backends.FetchRequest{ID: ids[0]}); backends.KindOf(err) != backends.Temporary {
		t.Errorf("%v, %v", c, err)
	}
}

// TestWebEndlessList: a server that gives the same page for ever ends the list with an error, and so it does what looks for a message.
func TestWebEndlessList(t *testing.T) {
	s, store := byEWS(t, 3, nil)
	same := double.Twist{Edit: func(reply string) string {
		return strings.Replace(reply, `IncludesLastItemInRange="true"`, `IncludesLastItemInRange="false"`, 1)
	}}
	var first string
	s.Twist("FindItem", 1, double.Twist{Edit: func(reply string) string { first = same.Edit(reply); return first }})
	s.Twist("FindItem", 1000, double.Twist{Edit: func(string) string { return first }})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := open(t, store, "")
	n := 0
	var failed error
	for _, err := range m.List(ctx) {
		if failed = err; err == nil {
			n++
		}
	}
	if n > 3 || backends.KindOf(failed) != backends.Temporary || ctx.Err() != nil {
		t.Errorf("%d messages, %v, %v", n, failed, ctx.Err())
	}
	if got := len(s.Operations()); got > 100 {
		t.Errorf("%d requests", got)
	}
	before := len(s.Operations())
	m = open(t, store, "")
	if _, err := m.Remove(ctx, []backends.MessageID{backends.MessageID(strings.Repeat("0", 44))}, backends.DisposalRemove); backends.KindOf(err) != backends.Temporary {
		t.Errorf("%v, %v", err, ctx.Err())
	}
	if got := len(s.Operations()) - before; got > 100 {
		t.Errorf("%d requests", got)
	}
}
