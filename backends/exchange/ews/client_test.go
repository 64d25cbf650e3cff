package ews_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/ews"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	double "github.com/dipylon/dipylon/test/exchange"
)

const (
	george = "george@sakes.example"
	chris  = "chris@sakes.example"
)

// site is a server with two mailboxes.
type site struct {
	*double.Server
	george, chris *double.Mailbox
}

func start(t testing.TB) *site {
	s := &site{Server: double.Start(t)}
	s.george = s.AddMailbox(george, "secret", "/o=Sakes/cn=george")
	s.chris = s.AddMailbox(chris, "chris-secret", "/o=Sakes/cn=chris")
	return s
}

// client signs in as george.
func (s *site) client(t testing.TB, change func(*ews.Config)) *ews.Client {
	t.Helper()
	server, err := signin.New(signin.Config{URL: s.Root, TLS: s.TLS, Method: signin.Basic, Connections: 4, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	login := server.Login(signin.Credential{User: george, Password: "secret"})
	t.Cleanup(login.CloseIdleConnections)
	config := ews.Config{URL: s.Root + "/EWS/Exchange.asmx", Transport: login}
	if change != nil {
		change(&config)
	}
	c, err := ews.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mailOf(n int) []byte {
	return fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nSubject: %d\r\n\r\nBody %d\r\n", chris, george, n, n)
}

// fill delivers messages to george, and returns their ids as a list of the Inbox has them.
func (s *site) fill(t testing.TB, c *ews.Client, n int) (ids []ews.ID) {
	t.Helper()
	for i := range n {
		s.george.DeliverMail(time.Date(2026, 11, 22, 12, 0, i, 0, time.UTC), mailOf(i), nil)
	}
	items, _, more, err := c.FindItem(t.Context(), ews.Known(ews.Inbox, ""), 0, 1000)
	if err != nil || len(items) != n || more {
		t.Fatal(len(items), more, err)
	}
	for _, i := range items {
		ids = append(ids, i.ID)
	}
	return ids
}

func contentOf(i *ews.Item, err error) string {
	if err != nil {
		return err.Error()
	}
	octets, err := io.ReadAll(i.Content)
	if err != nil {
		return err.Error()
	}
	return string(octets)
}

// TestLife does each operation at a double that was built from the specification.
func TestLife(t *testing.T) {
	s := start(t)
	c := s.client(t, nil)
	s.george.AddFolder("", "Archive")
	ids := s.fill(t, c, 5)

	folders, failures, err := c.GetFolder(t.Context(), ews.Known(ews.Inbox, ""), ews.Known(ews.Inbox, chris), ews.Known(ews.Top, ""))
	if err != nil || failures[0] != nil || backends.KindOf(failures[1]) != backends.Permanent || folders[0].Name != "Inbox" || len(folders[0].EntryID) != 46 {
		t.Errorf("%+v, %v, %v", folders, failures, err)
	}
	below, more, err := c.FindFolder(t.Context(), ews.FolderID{ID: folders[2].ID}, 0)
	if at := slices.IndexFunc(below, func(f ews.Folder) bool { return f.Name == "Archive" }); err != nil || more || at < 0 {
		t.Fatalf("%+v, %v", below, err)
	}
	archive := below[slices.IndexFunc(below, func(f ews.Folder) bool { return f.Name == "Archive" })]

	items, err := c.GetItem(t.Context(), ids, true)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		item, err := items.Next()
		if got := contentOf(item, err); got != string(mailOf(n)) || item.Parent != folders[0].ID.ID || item.ID != ids[n] {
			t.Errorf("%q, %+v", got, item)
		}
	}
	if _, err := items.Next(); err != io.EOF {
		t.Error(err)
	}
	items.Close()

	if failures, err := c.MarkRead(t.Context(), ids[:2]); err != nil || failures[0] != nil || failures[1] != nil {
		t.Error(failures, err)
	}
	moved, failures, err := c.MoveItem(t.Context(), []ews.ID{ids[0], {ID: "nonsense"}}, ews.FolderID{ID: archive.ID})
	if err != nil || failures[0] != nil || moved[0].ID == ids[0].ID || backends.KindOf(failures[1]) != backends.NotFound {
		t.Error(moved, failures, err)
	}
	for i, how := range []ews.Disposal{ews.HardDelete, ews.SoftDelete, ews.MoveToDeletedItems} {
		if failures, err := c.DeleteItem(t.Context(), ids[1+i:2+i], how); err != nil || failures[0] != nil {
			t.Error(how, failures, err)
		}
	}
	if failures, err := c.DeleteItem(t.Context(), ids, ews.HardDelete); err != nil || failures[4] != nil || backends.KindOf(failures[3]) != backends.NotFound {
		t.Error(failures, err)
	}
	var left []string
	for _, m := range s.george.Messages() {
		left = append(left, fmt.Sprint(m.Subject, " ", m.Folder, " ", m.Deleted, " ", m.Read))
	}
	if got := strings.Join(left, ", "); got != "0 Archive false true, 2 Inbox true false, 3 Deleted Items false false" {
		t.Error(got)
	}
	people, err := c.ResolveNames(t.Context(), "geo")
	if err != nil || len(people) != 1 || people[0].Address != george || people[0].Proxies[0] != "SMTP:"+george {
		t.Error(people, err)
	}
	if people, err := c.ResolveNames(t.Context(), "zzz"); err != nil || people != nil {
		t.Error(people, err)
	}
}

// TestExport reads items as the server keeps them, where its schema has that.
func TestExport(t *testing.T) {
	s := start(t)
	c := s.client(t, nil)
	ids := s.fill(t, c, 1)
	s.george.DeliverMail(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC), mailOf(1), []byte("a stream"))
	items, _, _, err := c.FindItem(t.Context(), ews.Known(ews.Inbox, ""), 1, 10)
	if err != nil || len(items) != 1 {
		t.Fatal(items, err)
	}
	all, err := c.ExportItems(t.Context(), []ews.ID{items[0].ID, {ID: "nonsense"}, ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	first, err := all.Next()
	if got := contentOf(first, err); got != "a stream" || first.ID.ID != items[0].ID.ID {
		t.Errorf("%q", got)
	}
	if _, err := all.Next(); backends.KindOf(err) != backends.NotFound {
		t.Error(err)
	}
	if _, err := all.Next(); err != nil {
		t.Error(err)
	}
	if _, err := all.Next(); err != io.EOF {
		t.Error(err)
	}
}

// TestSync follows a folder by its states.
func TestSync(t *testing.T) {
	s := start(t)
	c := s.client(t, nil)
	s.fill(t, c, 5)
	state, seen := "", 0
	for more := true; more; {
		var changes []ews.Change
		var err error
		if changes, state, more, err = c.SyncFolderItems(t.Context(), ews.Known(ews.Inbox, ""), state, 2); err != nil {
			t.Fatal(err)
		}
		for _, change := range changes {
			if change.Kind != "Create" || len(change.Item.EntryID) != 70 {
				t.Errorf("%+v", change)
			}
			seen++
		}
	}
	if _, _, _, err := c.SyncFolderItems(t.Context(), ews.Known(ews.Inbox, ""), "nonsense", 2); seen != 5 || !ews.Refused(err, ews.InvalidSyncState) {
		t.Error(seen, err)
	}
}

func item(mail string, how ews.Disposition, folder string) ews.NewItem {
	return ews.NewItem{
		Disposition: how, Folder: ews.Known(folder, ""), Size: int64(len(mail)),
		Mail: func() io.Reader { return strings.NewReader(mail) },
	}
}

// TestCreate makes messages of mail, and sends it. Who gets it in secret is told by nothing that the others get.
func TestCreate(t *testing.T) {
	s := start(t)
	c := s.client(t, nil)
	out := "From: " + george + "\r\nTo: " + chris + "\r\nBcc: dora@elsewhere.example\r\nSubject: out\r\n\r\nx\r\n"
	in := "From: dora@elsewhere.example\r\nSubject: in\r\n\r\nx\r\n"
	delivered := item(in, ews.SaveOnly, ews.Inbox)
	delivered.Delivered = true
	id, err := c.CreateItem(t.Context(), delivered)
	if err != nil || id.ID == "" {
		t.Error(id, err)
	}
	if _, err := c.CreateItem(t.Context(), item(out, ews.SendOnly, "")); err != nil {
		t.Error(err)
	}
	secret := item(strings.Replace(out, "Bcc: ", "Bcc: "+george+", ", 1), ews.SendAndSaveCopy, ews.SentItems)
	if _, err := c.CreateItem(t.Context(), secret); err != nil {
		t.Error(err)
	}
	draft, err := c.CreateItem(t.Context(), item(out, ews.SaveOnly, ews.Drafts))
	if err != nil {
		t.Fatal(err)
	}
	sent := ews.Known(ews.SentItems, "")
	if err := c.SendItem(t.Context(), draft, &sent); err != nil {
		t.Error(err)
	}
	var there []string
	for _, m := range append(s.george.Messages(), s.chris.Messages()...) {
		there = append(there, fmt.Sprint(m.Subject, " ", m.Folder, " ", m.Flags&8 != 0, " ", bytes.Contains(m.Mail, []byte("Bcc:"))))
	}
	if got := strings.Join(there, ", "); got != "in Inbox false false, out Inbox false false, out Sent Items false true, out Sent Items false true, "+
		"out Inbox false false, out Inbox false false, out Inbox false false" {
		t.Error(got)
	}
	if n := len(s.Sent()); n != 3 {
		t.Error(n)
	}
	_, err = c.CreateItem(t.Context(), item("From: "+chris+"\r\nTo: "+george+"\r\n\r\nx\r\n", ews.SendOnly, ""))
	if f := backends.AsFailure(err); f == nil || f.Kind != backends.Permanent || f.Reply().Code != "5.7.1" {
		t.Error(err)
	}
	s.george.Quota = 10
	if _, err := c.CreateItem(t.Context(), item(in, ews.SaveOnly, ews.Inbox)); backends.KindOf(err) != backends.OverQuota {
		t.Error(err)
	}
	s.Upload(2000)
	if _, err := c.CreateItem(t.Context(), item(in+strings.Repeat("x", 2000), ews.SaveOnly, ews.Inbox)); backends.KindOf(err) != backends.TooLarge {
		t.Error(err)
	}
}

// TestFindBy finds what was made with a property of ours.
func TestFindBy(t *testing.T) {
	s := start(t)
	c := s.client(t, nil)
	key, other := ews.Property{Name: "Key", Type: "Binary", Value: "a2V5"}, ews.Property{Name: "Other", Type: "Binary", Value: "b3RoZXI="}
	at := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	for range 2 {
		one := item("From: x@y.example\r\n\r\n", ews.SaveOnly, ews.Inbox)
		one.Properties, one.Delivered, one.At = []ews.Property{key, other}, true, at
		if _, err := c.CreateItem(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		key.Value = "eA=="
	}
	key.Value = "a2V5"
	found, err := c.FindBy(t.Context(), ews.Known(ews.Inbox, ""), key, 10, other)
	if err != nil || len(found) != 1 || found[0].Values["Other"] != other.Value || len(found[0].EntryID) != 70 || !s.george.Messages()[0].Received.Equal(at) {
		t.Errorf("%+v, %v", found, err)
	}
	s.Twist("FindItem", 1, double.Twist{Edit: func(r string) string { return strings.ReplaceAll(r, "a2V5", "eA==") }})
	if found, err := c.FindBy(t.Context(), ews.Known(ews.Inbox, ""), key, 10); err != nil || len(found) != 0 {
		t.Errorf("of a server that does not look for it: %+v, %v", found, err)
	}
}

// TestActing: who may act for somebody does.
func TestActing(t *testing.T) {
	s := start(t)
	c := s.client(t, func(o *ews.Config) { o.Impersonate = chris })
	_, _, err := c.GetFolder(t.Context(), ews.Known(ews.Inbox, ""))
	if backends.KindOf(err) != backends.Permanent || !ews.Refused(err, ews.ImpersonateDenied) {
		t.Error(err)
	}
	s.george.Impersonates = true
	if _, err := c.CreateItem(t.Context(), item("From: x@y.example\r\n\r\n", ews.SaveOnly, ews.Inbox)); err != nil || len(s.chris.Messages()) != 1 {
		t.Error(err)
	}
}

// TestVersions: the newest schema that the server has is the one that requests name, whatever was taken for granted before.
func TestVersions(t *testing.T) {
	for _, schema := range []ews.Version{ews.Exchange2007SP1, ews.Exchange2010, ews.Exchange2010SP1, ews.Exchange2010SP2, ews.Exchange2013, ews.Exchange2013SP1, ews.Exchange2016} {
		t.Run(string(schema), func(t *testing.T) {
			s := start(t)
			s.Schema(string(schema))
			c := s.client(t, nil)
			receipt := "Disposition-Notification-To: " + chris + "\r\n"
			for range 2 {
				s.george.DeliverMail(time.Now(), append([]byte(receipt), mailOf(1)...), nil)
			}
			items, _, _, err := c.FindItem(t.Context(), ews.Known(ews.Inbox, ""), 0, 10)
			if err != nil || len(items) != 2 {
				t.Fatal(items, err)
			}
			if !c.Has(schema) || schema != ews.Exchange2016 && c.Has(ews.Exchange2016) {
				t.Error("another version is named")
			}
			if failures, err := c.MarkRead(t.Context(), []ews.ID{items[0].ID}); err != nil || failures[0] != nil {
				t.Error(failures, err)
			}
			if !c.Has(ews.Exchange2013) {
				if failures, err := c.ForgetReceipts(t.Context(), []ews.ID{items[1].ID}); err != nil || failures[0] != nil {
					t.Error(failures, err)
				}
			}
			if failures, err := c.DeleteItem(t.Context(), []ews.ID{items[1].ID}, ews.SoftDelete); err != nil || failures[0] != nil {
				t.Error(failures, err)
			}
			for _, m := range s.george.Messages() {
				if m.Receipt {
					t.Error("a receipt was sent")
				}
			}
			if c := s.client(t, func(o *ews.Config) { o.Version = ews.Exchange2016 }); true {
				if _, _, err := c.GetFolder(t.Context(), ews.Known(ews.Inbox, "")); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestRefusals has what servers refuse requests with.
func TestRefusals(t *testing.T) {
	lost := double.Twist{Cut: -1}
	for _, test := range []struct {
		name            string
		twist           double.Twist
		read, once      backends.Kind
		wait            time.Duration
		carriedOutTwice bool
	}{
		{"busy", double.Twist{BackOff: 42 * time.Second}, backends.Throttled, backends.Throttled, 42 * time.Second, false},
		{"busy for long", double.Twist{BackOff: 400 * time.Hour}, backends.Throttled, backends.Throttled, time.Hour, false},
		{"503", double.Twist{Undone: true, Status: 503}, backends.Throttled, backends.Throttled, 0, false},
		{"502", double.Twist{Status: 502, Body: "bad gateway"}, backends.Temporary, backends.Uncertain, 0, false},
		{"500 without a fault", double.Twist{Status: 500, Body: "<html>"}, backends.Temporary, backends.Uncertain, 0, false},
		{"403", double.Twist{Undone: true, Status: 403}, backends.Permanent, backends.Permanent, 0, false},
		{"302", double.Twist{Undone: true, Status: 302}, backends.Temporary, backends.Temporary, 0, false},
		{"nothing", lost, backends.Temporary, backends.Uncertain, 0, false},
		{"half of it", double.Twist{Cut: 300}, backends.Temporary, backends.Uncertain, 0, false},
		{"all but the end", double.Twist{Edit: func(r string) string { return strings.TrimSuffix(r, "</s:Envelope>") }}, backends.Temporary, backends.Uncertain, 0, false},
		{"another reply", double.Twist{Edit: func(r string) string { return strings.ReplaceAll(r, "Response>", "Other>") }}, backends.Temporary, backends.Uncertain, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t)
			c := s.client(t, nil)
			if _, _, err := c.GetFolder(t.Context(), ews.Known(ews.Inbox, "")); err != nil {
				t.Fatal(err)
			}
			s.Twist("", 2, test.twist) // net/http asks again by itself where nothing comes of a request that may be made again
			_, _, err := c.GetFolder(t.Context(), ews.Known(ews.Inbox, ""))
			if f := backends.AsFailure(err); f == nil || f.Kind != test.read || f.RetryAfter != test.wait {
				t.Errorf("to read: %v, %v", err, f)
			}
			s.Twist("", 2, test.twist)
			_, err = c.CreateItem(t.Context(), item("From: x@y.example\r\n\r\n", ews.SaveOnly, ews.Inbox))
			if f := backends.AsFailure(err); f == nil || f.Kind != test.once || f.RetryAfter != test.wait {
				t.Errorf("to write: %v", err)
			}
			if n := len(s.george.Messages()); n > 1 {
				t.Errorf("it was done %d times", n)
			}
		})
	}
}

// TestNotReused: a connection that has answered with 5xx is not used again.
func TestNotReused(t *testing.T) {
	s := start(t)
	transport := &http.Transport{TLSClientConfig: s.TLS}
	defer transport.CloseIdleConnections()
	c := s.client(t, func(o *ews.Config) {
		o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			r.SetBasicAuth(george, "secret")
			return transport.RoundTrip(r)
		})
	})
	ask := func() { _, _, _ = c.GetFolder(t.Context(), ews.Known(ews.Inbox, "")) }
	ask()
	ask()
	if s.Connections() != 1 {
		t.Fatal("a connection is not used twice")
	}
	for _, twist := range []double.Twist{{BackOff: time.Second}, {Status: 502}, {Undone: true, Status: 503}} {
		before := s.Connections()
		s.Twist("", 1, twist)
		ask() // on the connection of before
		ask()
		ask()
		if n := s.Connections() - before; n != 1 {
			t.Errorf("%+v: %d connections were made for what came after it", twist, n)
		}
	}
}

// TestPromised takes one element after the other out of replies: without what an operation must bring it does not succeed, and the other items of a batch
// are read all the same.
func TestPromised(t *testing.T) {
	s := start(t)
	c := s.client(t, nil)
	ids := s.fill(t, c, 3)
	without := func(start, end string) func(string) string {
		return func(r string) string {
			at := strings.Index(r, start)
			if at < 0 {
				t.Errorf("no %s in %s", start, r)
				return r
			}
			return r[:at] + r[at+strings.Index(r[at:], end)+len(end):]
		}
	}
	for _, test := range []struct{ operation, start, end string }{
		{"GetFolder", "<t:FolderId ", "/>"},
		{"GetFolder", "<m:Folders", "</m:Folders>"},
		{"GetFolder", "<t:Folder>", "</t:Folder>"},
		{"GetFolder", "<m:ResponseCode>", "</m:ResponseCode>"},
		{"GetFolder", "<m:GetFolderResponseMessage", "</m:GetFolderResponseMessage>"},
		{"GetFolder", " ResponseClass=", `Success"`},
		{"GetFolder", "<m:GetFolderResponse ", "</m:GetFolderResponse>"},
		{"FindItem", "<t:ItemId ", "/>"},
		{"FindItem", "<m:RootFolder", "</m:RootFolder>"},
		{"FindItem", " IncludesLastItemInRange=", `e"`},
		{"FindItem", "<t:Items>", "</t:Items>"},
		{"SyncFolderItems", "<m:SyncState>", "</m:SyncState>"},
		{"SyncFolderItems", "<m:IncludesLastItemInRange>", "</m:IncludesLastItemInRange>"},
		{"SyncFolderItems", "<t:ItemId ", "/>"},
		{"CreateItem", "<t:Message>", "</t:Message>"},
		{"CreateItem", "<m:Items>", "</m:Items>"},
		{"DeleteItem", "<m:ResponseCode>", "</m:ResponseCode>"},
		{"DeleteItem", "<m:DeleteItemResponseMessage", "</m:DeleteItemResponseMessage>"},
		{"ResolveNames", "<m:ResolutionSet", "</m:ResolutionSet>"},
	} {
		s.Twist(test.operation, 1, double.Twist{Edit: without(test.start, test.end)})
		var err error
		switch test.operation {
		case "GetFolder":
			_, _, err = c.GetFolder(t.Context(), ews.Known(ews.Inbox, ""))
		case "FindItem":
			_, _, _, err = c.FindItem(t.Context(), ews.Known(ews.Inbox, ""), 0, 10)
		case "SyncFolderItems":
			_, _, _, err = c.SyncFolderItems(t.Context(), ews.Known(ews.Inbox, ""), "", 10)
		case "CreateItem":
			_, err = c.CreateItem(t.Context(), item("From: x@y.example\r\n\r\n", ews.SaveOnly, ews.Drafts))
		case "DeleteItem":
			_, err = c.DeleteItem(t.Context(), []ews.ID{{ID: "x"}, {ID: "y"}}, ews.SoftDelete)
		case "ResolveNames":
			_, err = c.ResolveNames(t.Context(), george)
		}
		if err == nil || errors.As(err, new(*ews.Error)) {
			t.Errorf("%s without %s: %v", test.operation, test.start, err)
		}
	}
	for _, test := range []struct {
		start, end string
		kind       backends.Kind
	}{
		{"<t:MimeContent ", "</t:MimeContent>", backends.Poison},
		{"<t:ItemId ", "/>", backends.Temporary},
		{"<t:Message>", "</t:Message>", backends.Temporary},
		{"<m:Items>", "</m:Items>", backends.Temporary},
	} {
		s.Twist("GetItem", 1, double.Twist{Edit: without(test.start, test.end)})
		outcomes := all(t, c, ids)
		if backends.KindOf(outcomes[0].err) != test.kind || outcomes[1].text != string(mailOf(1)) || outcomes[2].text != string(mailOf(2)) {
			t.Errorf("without %s: %v", test.start, outcomes)
		}
	}
	s.Twist("GetItem", 1, double.Twist{Edit: func(r string) string { return strings.Replace(r, "UTF-8\">", "UTF-8\">!", 1) }})
	if outcomes := all(t, c, ids); backends.KindOf(outcomes[0].err) != backends.Poison || outcomes[1].text != string(mailOf(1)) {
		t.Errorf("no base64: %v", outcomes)
	}
	s.Twist("GetItem", 1, double.Twist{Edit: func(r string) string { return r[:strings.LastIndex(r, "UTF-8\">")+20] }})
	if outcomes := all(t, c, ids); outcomes[0].err != nil || outcomes[1].err != nil || backends.KindOf(outcomes[2].err) != backends.Temporary {
		t.Errorf("cut in the last: %v", outcomes)
	}
}

type got struct {
	text string
	err  error
}

// all reads items, up to what ends all of it.
func all(t *testing.T, c *ews.Client, ids []ews.ID) (outcomes []got) {
	t.Helper()
	items, err := c.GetItem(t.Context(), ids, true)
	if err != nil {
		t.Fatal(err)
	}
	defer items.Close()
	for range ids {
		item, err := items.Next()
		var octets []byte
		if err == nil {
			octets, err = io.ReadAll(item.Content)
		}
		outcomes = append(outcomes, got{string(octets), err})
		if one := (*ews.ItemError)(nil); err != nil && !errors.As(err, &one) {
			break
		}
	}
	for len(outcomes) < len(ids) {
		outcomes = append(outcomes, got{"", errors.New("not reached")})
	}
	return outcomes
}

// endless is a reply whose one item has so many octets of mail, made as they are read.
type endless struct{ size int }

func (e endless) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	const space = `xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"`
	head := `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><m:GetItemResponse ` + space + `><m:ResponseMessages>` +
		`<m:GetItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items><t:Message><t:MimeContent>`
	tail := `</t:MimeContent><t:ItemId Id="x"/></t:Message></m:Items></m:GetItemResponseMessage></m:ResponseMessages></m:GetItemResponse></s:Body></s:Envelope>`
	body := io.MultiReader(strings.NewReader(head), io.LimitReader(letters{}, int64(e.size/3*4)), strings.NewReader(tail))
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(body)}, nil
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'A'
	}
	return len(p), nil
}

// TestMemory: a message of 48 MB costs no memory that grows with it, neither on the way in nor on the way out.
func TestMemory(t *testing.T) {
	const size = 48 << 20
	c, err := ews.New(ews.Config{URL: "https://x.example/EWS", Transport: endless{size}})
	if err != nil {
		t.Fatal(err)
	}
	allocated := func(do func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if n := allocated(func() {
		items, err := c.GetItem(context.Background(), []ews.ID{{ID: "x"}}, true)
		if err != nil {
			t.Fatal(err)
		}
		defer items.Close()
		item, err := items.Next()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, item.Content); err != nil || n != size {
			t.Error(n, err)
		}
		if _, err := items.Next(); err != io.EOF {
			t.Error(err)
		}
	}); n > 1<<20 {
		t.Errorf("to read: %d octets were allocated in all", n)
	}
	if n := allocated(func() {
		_, _ = c.CreateItem(context.Background(), ews.NewItem{
			Disposition: ews.SendOnly, Size: size, Mail: func() io.Reader { return io.LimitReader(letters{}, size) },
		})
	}); n > 1<<20 {
		t.Errorf("to write: %d octets were allocated in all", n)
	}
}

// TestLength: mail that has not as many octets as was said is not sent as if it were whole.
func TestLength(t *testing.T) {
	s := start(t)
	c := s.client(t, nil)
	for _, off := range []int64{-1, 1} {
		one := item("From: x@y.example\r\n\r\n", ews.SaveOnly, ews.Inbox)
		one.Size += off
		if _, err := c.CreateItem(t.Context(), one); off > 0 && err == nil {
			t.Error("it was taken")
		}
	}
	for _, m := range s.george.Messages() {
		if len(m.Mail) > 21 {
			t.Errorf("%q", m.Mail)
		}
	}
}

// TestSilence: a server that says nothing is given up, and a context that ends is told of.
func TestSilence(t *testing.T) {
	wait := make(chan struct{})
	silent := roundTrip(func(r *http.Request) (*http.Response, error) {
		close(wait)
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	})
	c, err := ews.New(ews.Config{URL: "https://x.example/EWS", Transport: silent, Timeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.GetFolder(t.Context(), ews.Known(ews.Inbox, "")); backends.KindOf(err) != backends.Temporary {
		t.Error(err)
	}
	wait = make(chan struct{})
	if c, err = ews.New(ews.Config{URL: "https://x.example/EWS", Transport: silent}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-wait
		cancel()
	}()
	if _, _, err := c.GetFolder(ctx, ews.Known(ews.Inbox, "")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// drip is a reply that comes for ever, slowly.
type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, context.Cause(d.ctx)
	case <-time.After(30 * time.Second):
		return copy(p, " "), nil
	}
}

func (drip) Close() error { return nil }

// TestDrip: a server that never finishes is given up, however often it sends something: of what has no message in it.
func TestDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/xml"}}, Body: drip{r.Context()}, Request: r}, nil
		})
		c, err := ews.New(ews.Config{URL: "https://x.example/EWS", Transport: slow})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, _, err := c.GetFolder(ctx, ews.Known(ews.Inbox, "")); backends.KindOf(err) != backends.Temporary || ctx.Err() != nil {
			t.Error(err, ctx.Err())
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
