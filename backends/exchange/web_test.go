package exchange_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
	"github.com/dipylon/dipylon/backends/exchange/ews"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	double "github.com/dipylon/dipylon/test/exchange"
)

// byEWS is a site whose first mailbox has so many bills, and a store that reads it by EWS.
func byEWS(t *testing.T, n int, settings map[string]any) (*site, *exchange.Store) {
	t.Helper()
	all := map[string]any{"protocol": "ews"}
	for name, value := range settings {
		all[name] = value
	}
	return filled(t, n, all)
}

// operations are those of EWS since a number of them.
func (s *site) operations(since int) string { return strings.Join(s.Operations()[since:], " ") }

// TestSameByBoth: whatever the server is spoken to with, accounts, folders and messages are known by the same ids, and mail that the
// server has kept is the same.
func TestSameByBoth(t *testing.T) {
	s, mapi := filled(t, 5, map[string]any{"protocol": "mapi"})
	raw := s.settings.Raw
	s.settings.Raw = []byte(strings.Replace(string(raw), `"mapi"`, `"ews"`, 1))
	web := s.store(t)
	for _, folder := range []string{"", "inbox", "Archive/2026", "Deleted Items"} {
		one, other := open(t, mapi, folder), open(t, web, folder)
		if fmt.Sprint(one.Opened()) != fmt.Sprint(other.Opened()) {
			t.Errorf("%+v and %+v", one.Opened(), other.Opened())
		}
	}
	one, other := open(t, mapi, ""), open(t, web, "")
	ids, entries := list(t, one)
	again, others := list(t, other)
	if !slices.Equal(ids, again) || len(ids) != 5 {
		t.Errorf("%q and %q", ids, again)
	}
	for i, id := range ids {
		if fetch(t, one, id) != fetch(t, other, id) || entries[i].Received.Sub(others[i].Received).Abs() >= time.Second {
			t.Errorf("message %d differs", i)
		}
	}
	for _, r := range []backends.Rendering{{Encoding: backends.EncodingUUENCODE}, {Body: backends.BodyHTML}, {Charset: "us-ascii"}} {
		request := backends.FetchRequest{ID: ids[0], Rendering: r}
		if a, b := read(t, one, request), read(t, other, request); !strings.HasSuffix(b, "Pay.\r\n") && r.Body != backends.BodyHTML || bodyOf(a) != bodyOf(b) {
			t.Errorf("%+v: %q and %q", r, a, b)
		}
	}
}

// TestRecordedIdentity: what a server was recorded with tells by EWS the id that it tells by MAPI over HTTP (RopLongTermIdFromId).
func TestRecordedIdentity(t *testing.T) {
	byEWS, err := os.ReadFile("testdata/ews/01-folders-finditem.json")
	if err != nil {
		t.Fatal(err)
	}
	byMAPI, err := os.ReadFile("testdata/mapi/11-long-term-ids.json")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`PropertyTag=\\"0xfff\\"/><t:Value>([A-Za-z0-9+/=]+)<`).FindAllStringSubmatch(string(byEWS), -1)
	if len(found) < 40 {
		t.Fatal(len(found))
	}
	for _, one := range found {
		entry, err := base64.StdEncoding.DecodeString(one[1])
		if err != nil {
			t.Fatal(err)
		}
		id, err := exchange.IdentityByEWS(ews.Item{EntryID: entry})
		if err != nil || len(id) != 44 || !strings.Contains(string(byMAPI), string(id[:32])) || !strings.HasPrefix(string(id[32:]), "00000003") {
			t.Errorf("%s, %v", id, err)
		}
	}
	for _, odd := range []ews.Item{{}, {EntryID: []byte("x")}, {SourceKey: make([]byte, 300)}} {
		if id, err := exchange.IdentityByEWS(odd); err == nil {
			t.Errorf("%+v: %q", odd, id)
		}
	}
	if id, err := exchange.IdentityByEWS(ews.Item{EntryID: []byte("x"), SourceKey: []byte{1, 2}}); err != nil || id != "0102" {
		t.Error(id, err)
	}
}

func bodyOf(mail string) string { return mail[strings.Index(mail, "\r\n\r\n"):] }

func read(t *testing.T, m backends.Maildrop, request backends.FetchRequest) string {
	t.Helper()
	c, err := m.Fetch(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	octets, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

// TestWebRoundTrips counts what a client waits for from its login to its first message. The connection takes two more (TCP, TLS 1.3).
func TestWebRoundTrips(t *testing.T) {
	s, store := byEWS(t, 1, nil)
	for _, test := range []struct {
		name string
		most int
	}{
		{"cold: what is offered twice, Inbox, Autodiscover, names, list, message", 8},
		{"warm: Inbox, list, message", 3},
	} {
		before := s.Requests()
		m := open(t, store, "")
		ids, _ := list(t, m)
		if got := fetch(t, m, ids[0]); got != numbered(0) {
			t.Errorf("not as it came: %q", got)
		}
		if n := s.Requests() - before; n > test.most {
			t.Errorf("%s: %d requests", test.name, n)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestWebForgotten: what is remembered of a large folder is bounded, and a message whose Id was forgotten is found with one request where it was, also
// when others were removed in front of it.
func TestWebForgotten(t *testing.T) {
	s, store := byEWS(t, 30, nil)
	exchange.KnowIDs(store, 4, 5)
	s.FindLimit(8)
	m := open(t, store, "")
	ids, _ := list(t, m)
	finds := func() (n int) {
		for _, operation := range s.Operations() {
			if operation == "FindItem" {
				n++
			}
		}
		return n
	}
	before := finds()
	if got := fetch(t, m, ids[18]); got != numbered(18) {
		t.Errorf("%q", got)
	}
	if n := finds() - before; n != 1 {
		t.Errorf("%d requests find a message", n)
	}
	if removals, err := m.Remove(t.Context(), ids[:5], backends.DisposalRemove); err != nil || removals[4].Failure != nil {
		t.Fatal(removals, err)
	}
	if got := fetch(t, m, ids[10]); got != numbered(10) {
		t.Errorf("%q", got)
	}
	if _, err := m.Fetch(t.Context(), backends.FetchRequest{ID: ids[1]}); backends.KindOf(err) != backends.NotFound {
		t.Errorf("one that is gone: %v", err)
	}
}

// TestWebHandover: the maildrop that follows a login has its connection, if it is opened with the same credential. Each login is verified.
func TestWebHandover(t *testing.T) {
	s, store := byEWS(t, 1, nil)
	login := func() {
		t.Helper()
		if _, err := store.Login(t.Context(), credential("george-secret")); err != nil {
			t.Fatal(err)
		}
	}
	login()
	before, requests := s.Connections(), s.Requests()
	login()
	m := open(t, store, "")
	ids, _ := list(t, m)
	fetch(t, m, ids[0])
	if connections, requests := s.Connections()-before, s.Requests()-requests; connections != 1 || requests != 4 {
		t.Errorf("%d connections and %d requests for a login, a maildrop, a list and a message", connections, requests)
	}
	login()
	s.boxes[george].SetPassword("another")
	if _, err := store.Open(t.Context(), backends.OpenRequest{Credential: credential("another")}); err != nil {
		t.Error(err)
	}
	if _, err := store.Open(t.Context(), backends.OpenRequest{Credential: credential("george-secret")}); backends.KindOf(err) != backends.BadCredentials {
		t.Error(err)
	}
	if _, err := store.Login(t.Context(), credential("george-secret")); backends.KindOf(err) != backends.BadCredentials {
		t.Error(err)
	}
}

// TestTheSameTogether: a message has the same octets whether it is read alone or in a group, in each form, and each time (I6). In a group it
// comes with more of its properties.
func TestTheSameTogether(t *testing.T) {
	for _, protocol := range []string{"mapi", "ews"} {
		s, store := filled(t, 1, map[string]any{"protocol": protocol})
		if err := s.putBy(mime.Reader{}, george, []byte("Subject: short\r\n\r\ntext\r\n")); err != nil { // which nobody has sent by the Internet
			t.Fatal(err)
		}
		if err := s.putBy(mime.Reader{}, george, []byte("From: zoe@sakes.example\r\nTo: "+george+"\r\nSubject: bills\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"+
			"--b\r\nContent-Type: text/html\r\n\r\n<p>Two</p>\r\n--b\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\nbill\r\n"+
			"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n--b--\r\n")); err != nil {
			t.Fatal(err)
		}
		m := open(t, store, "")
		ids, _ := list(t, m)
		for _, form := range []backends.Rendering{{}, {RichText: true}, {Encoding: backends.EncodingUUENCODE}, {Body: backends.BodyText}, {Charset: "us-ascii", Wrap: 40}} {
			together, failures := manyAs(t, m, ids, form)
			for i, id := range ids {
				alone := read(t, m, backends.FetchRequest{ID: id, Rendering: form})
				if failures[i] != nil || together[i] != alone || (form.RichText && i > 0 && protocol == "mapi") != strings.Contains(alone, "application/ms-tnef") {
					t.Errorf("%s, %+v, message %d: %v\n%s\nalone\n%s", protocol, form, i, failures[i], together[i], alone)
				}
			}
		}
	}
}

// many reads messages together, and returns what became of each.
func many(t *testing.T, m backends.Maildrop, ids []backends.MessageID) (texts []string, failures []error) {
	t.Helper()
	return manyAs(t, m, ids, backends.Rendering{})
}

func manyAs(t *testing.T, m backends.Maildrop, ids []backends.MessageID, form backends.Rendering) (texts []string, failures []error) {
	t.Helper()
	all, err := m.(backends.ManyFetcher).FetchMany(t.Context(), backends.FetchManyRequest{IDs: ids, Rendering: form})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	for range ids {
		text := ""
		c, err := all.Next(t.Context())
		if err == nil {
			var octets []byte
			octets, err = io.ReadAll(c)
			text = string(octets)
			_ = c.Close()
		}
		texts, failures = append(texts, text), append(failures, err)
	}
	if _, err := all.Next(t.Context()); err != io.EOF {
		t.Error(err)
	}
	return texts, failures
}

// TestWebTogether reads many messages with one request, and what is wrong with one of them costs no other.
func TestWebTogether(t *testing.T) {
	s, store := byEWS(t, 20, nil)
	s.boxes[george].DeliverMail(time.Now(), nil, []byte{}) // which cannot be made mail of
	m := open(t, store, "")
	ids, _ := list(t, m)
	ids[7], ids[20] = ids[20], ids[7]
	other := open(t, store, "")
	if _, err := other.Remove(t.Context(), ids[3:4], backends.DisposalRemove); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Remove(t.Context(), ids[5:6], backends.DisposalTrash); err != nil {
		t.Fatal(err)
	}
	before := len(s.Operations())
	_, failures := many(t, m, ids)
	for i, err := range failures {
		want := map[int]backends.Kind{3: backends.NotFound, 5: backends.NotFound, 7: backends.Poison}[i]
		if backends.KindOf(err) != want {
			t.Errorf("message %d: %v", i, err)
		}
	}
	if got := s.operations(before); got != "GetItem" {
		t.Errorf("asked for with %s", got)
	}
}

// TestWebCut: a reply that ends in the middle of a message is asked for again from that one on; one that always does is told of, and no
// other is.
func TestWebCut(t *testing.T) {
	s, store := byEWS(t, 10, nil)
	m := open(t, store, "")
	ids, _ := list(t, m)
	in := regexp.MustCompile(`<t:MimeContent `)
	cut := func(at int) double.Twist {
		return double.Twist{Edit: func(r string) string {
			found := in.FindAllStringIndex(r, -1)
			return r[:found[min(at, len(found)-1)][0]+100]
		}}
	}
	s.Twist("GetItem", 1, cut(4))
	before := len(s.Operations())
	texts, failures := many(t, m, ids)
	if got := s.operations(before); got != "GetItem GetItem GetItem" {
		t.Errorf("asked for with %s: all, the one that was cut, and those behind it", got)
	}
	for i := range ids {
		if failures[i] != nil || texts[i] != numbered(i) {
			t.Errorf("message %d: %v", i, failures[i])
		}
	}
	s.Twist("GetItem", 1, cut(4))
	s.Twist("GetItem", 1, cut(0))
	texts, failures = many(t, m, ids)
	for i := range ids {
		if failed := i == 4; backends.KindOf(failures[i]) == backends.Temporary != failed || !failed && texts[i] != numbered(i) {
			t.Errorf("message %d: %v", i, failures[i])
		}
	}
	s.Twist("GetItem", 1, double.Twist{Cut: 500})
	if _, failures = many(t, m, ids); errors.Join(failures...) != nil {
		t.Error(failures)
	}
}

// TestWebBusy: a server that is busy says until when, and is left alone.
func TestWebBusy(t *testing.T) {
	s, store := byEWS(t, 10, nil)
	m := open(t, store, "")
	ids, _ := list(t, m)
	before := len(s.Operations())
	s.Twist("GetItem", 1, double.Twist{BackOff: 7 * time.Second})
	_, failures := many(t, m, ids)
	for _, err := range failures {
		if f := backends.AsFailure(err); f == nil || f.Kind != backends.Throttled || f.RetryAfter != 7*time.Second {
			t.Error(err)
		}
	}
	if got := s.operations(before); got != "GetItem" {
		t.Errorf("asked for with %s", got)
	}
	s.Twist("GetFolder", 1, double.Twist{BackOff: 7 * time.Second})
	_, err := store.Open(t.Context(), backends.OpenRequest{Credential: credential("george-secret")})
	if backends.KindOf(err) != backends.Throttled {
		t.Error(err)
	}
}

// TestWebPages lists a folder in pages while others remove what is in front of them.
func TestWebPages(t *testing.T) {
	s, store := byEWS(t, 20, nil)
	s.FindLimit(4)
	all, _ := list(t, open(t, store, ""))
	if len(all) != 20 {
		t.Fatalf("%d messages", len(all))
	}
	m, other := open(t, store, ""), open(t, store, "")
	var got []backends.MessageID
	for e, err := range m.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.ID); len(got) == 4 {
			if _, err := other.Remove(t.Context(), all[:3], backends.DisposalRemove); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.Equal(got, all) {
		t.Errorf("%d messages: %v, %v", len(got), got, all)
	}
	if text := fetch(t, open(t, store, ""), all[19]); text != numbered(19) { // without a list, on the last page
		t.Errorf("%q", text)
	}
}

// TestWebRemoval: removal is soft, hard or to Deleted Items, and no receipt is sent, whatever the server's version.
func TestWebRemoval(t *testing.T) {
	for _, test := range []struct {
		removal  string
		disposal backends.Disposal
		folder   string
		want     string // what is there of it then
	}{
		{"soft", backends.DisposalRemove, "", "Inbox true"},
		{"hard", backends.DisposalRemove, "", ""},
		{"soft", backends.DisposalTrash, "", "Deleted Items false"},
		{"soft", backends.DisposalTrash, "Deleted Items", "Deleted Items true"},
	} {
		for _, schema := range []string{"Exchange2007_SP1", "Exchange2016"} {
			t.Run(fmt.Sprint(test.removal, test.disposal, test.folder, schema), func(t *testing.T) {
				s, store := byEWS(t, 0, map[string]any{"removal": test.removal})
				s.Schema(schema)
				receipt := "Disposition-Notification-To: " + chris + "\r\n" + bill
				for range 2 {
					if err := s.put(george, []byte(receipt)); err != nil {
						t.Fatal(err)
					}
				}
				m := open(t, store, "")
				ids, _ := list(t, m)
				if err := m.(backends.Marker).MarkSeen(t.Context(), ids[1:]); err != nil {
					t.Error(err)
				}
				if test.folder != "" {
					if _, err := m.Remove(t.Context(), ids[:1], backends.DisposalTrash); err != nil {
						t.Fatal(err)
					}
					m = open(t, store, test.folder)
					ids, _ = list(t, m)
				}
				removals, err := m.Remove(t.Context(), append(ids[:1:1], "0123"), test.disposal)
				if err != nil || removals[0].Failure != nil || removals[1].Failure != nil {
					t.Error(removals, err)
				}
				if left, _ := list(t, open(t, store, test.folder)); slices.Contains(left, ids[0]) {
					t.Error("it is listed still")
				}
				got := ""
				for _, one := range s.boxes[george].Messages() {
					if one.Receipt {
						t.Error("a receipt was sent")
					}
					if !one.Read {
						got = fmt.Sprint(one.Folder, " ", one.Deleted)
					}
				}
				if got != test.want {
					t.Errorf("%q", got)
				}
			})
		}
	}
}

// TestAuto: where there is no MAPI over HTTP it is EWS that is used, and where there is neither, that is told.
func TestAuto(t *testing.T) {
	s, store := filled(t, 1, nil)
	text := func() string {
		m := open(t, store, "")
		ids, _ := list(t, m)
		return fetch(t, m, ids[0])
	}
	if text() != numbered(0) || len(s.Operations()) != 0 {
		t.Error("MAPI over HTTP is not used where it is there")
	}
	renderer := func(store *exchange.Store) string {
		d, err := store.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return d.Reading.Renderer
	}
	ours := renderer(store)
	s.WithoutMAPI(true)
	if text() != numbered(0) || len(s.Operations()) == 0 {
		t.Error("EWS is not used")
	}
	before := s.Requests()
	if _, err := store.Login(t.Context(), credential("george-secret")); err != nil {
		t.Error(err)
	}
	if n := s.Requests() - before; n != 1 {
		t.Errorf("a login by EWS takes %d requests", n)
	}
	if theirs := renderer(s.store(t)); theirs == ours {
		t.Errorf("both are called %s", theirs)
	}
	s.WithoutEWS()
	_, err := s.store(t).Login(t.Context(), credential("george-secret"))
	if backends.KindOf(err) != backends.Unsupported || !strings.Contains(err.Error(), "switched on") {
		t.Error(err)
	}
	s.settings.Raw = []byte(strings.Replace(string(s.settings.Raw), "{", `{"protocol": "ews", `, 1))
	_, err = s.store(t).Login(t.Context(), credential("george-secret"))
	if backends.KindOf(err) != backends.Unsupported || !strings.Contains(err.Error(), "is EWS there") {
		t.Error(err)
	}
}

// TestWebLogin: a wrong password is sent once and told as that; who somebody is Autodiscover tells, and an account is no other one
// for as long as it cannot.
func TestWebLogin(t *testing.T) {
	s, store := byEWS(t, 1, nil)
	if _, err := store.Login(t.Context(), credential("wrong")); backends.KindOf(err) != backends.BadCredentials {
		t.Error(err)
	}
	if n := s.Refusals(george); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	s.Discovery(503)
	if _, err := store.Login(t.Context(), credential("george-secret")); backends.KindOf(err) != backends.Temporary {
		t.Error(err)
	}
	s.Discovery(0)
	a, err := store.Login(t.Context(), credential("george-secret"))
	if err != nil || !strings.HasSuffix(a.ID, "/cn=recipients/cn=george") || a.Address != george || !slices.Equal(a.Addresses, []string{george}) || a.DisplayName != george {
		t.Errorf("%+v, %v", a, err)
	}
	s.Discovery(404)
	if a, err := s.store(t).Login(t.Context(), credential("george-secret")); err != nil || a.ID != george {
		t.Errorf("%+v, %v", a, err)
	}
	m := open(t, store, "")
	ids, _ := list(t, m)
	s.boxes[george].SetPassword("another")
	before := s.Refusals(george)
	for range 5 {
		if _, err := m.Fetch(t.Context(), backends.FetchRequest{ID: ids[0]}); backends.KindOf(err) != backends.BadCredentials {
			t.Error(err)
		}
	}
	if n := s.Refusals(george) - before; n != 1 {
		t.Errorf("what was refused was sent %d times", n)
	}
}

// TestWebOthers opens mailboxes of others: with a right to them, and by a service account that impersonates or has one.
func TestWebOthers(t *testing.T) {
	s, store := byEWS(t, 1, map[string]any{"service": map[string]any{"user": service, "password": "keeper-secret"}})
	theirs := backends.Credential{Kind: backends.CredentialPassword, User: chris, ActAs: george, Secret: []byte("chris-secret")}
	acting := backends.Credential{Kind: backends.CredentialImpersonation, User: george}
	text := func(c backends.Credential) (string, error) {
		m, err := store.Open(t.Context(), backends.OpenRequest{Credential: c})
		if err != nil {
			return "", err
		}
		defer m.Close()
		ids, _ := list(t, m)
		if m.Opened().Account.ID != open(t, store, "").Opened().Account.ID {
			t.Errorf("%+v", m.Opened())
		}
		return fetch(t, m, ids[0]), nil
	}
	keeper := s.boxes[service]
	s.boxes[george].Grant(keeper, double.Rights{})
	if _, err := text(theirs); backends.KindOf(err) != backends.Permanent || backends.AsFailure(err).Reply().Code != "5.7.1" {
		t.Error(err)
	}
	if _, err := text(acting); backends.KindOf(err) != backends.Temporary || !strings.Contains(err.Error(), "FullAccess") {
		t.Error(err)
	}
	keeper.Impersonates = true
	if got, err := text(acting); err != nil || got != numbered(0) {
		t.Error(got, err)
	}
	keeper.Impersonates = false
	for _, to := range []*double.Mailbox{keeper, s.boxes[chris]} {
		s.boxes[george].Grant(to, double.Rights{Reads: true})
	}
	for _, c := range []backends.Credential{theirs, acting} {
		if got, err := text(c); err != nil || got != numbered(0) {
			t.Error(got, err)
		}
	}
}

// TestWebClosed: nothing is asked by a maildrop that was closed, and what is under way ends.
func TestWebClosed(t *testing.T) {
	_, store := byEWS(t, 3, nil)
	m := open(t, store, "")
	ids, _ := list(t, m)
	all, err := m.(backends.ManyFetcher).FetchMany(context.Background(), backends.FetchManyRequest{IDs: ids})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	first, err := all.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("a content is given out after the maildrop was closed")
	}
	if _, err := all.Next(t.Context()); err == nil || err == io.EOF {
		t.Error(err)
	}
	if _, err := m.Remove(t.Context(), ids, backends.DisposalRemove); err == nil {
		t.Error("messages are removed after the maildrop was closed")
	}
}
