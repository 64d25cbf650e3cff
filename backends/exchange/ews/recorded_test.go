package ews

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// side is a recorded request or response.
type side struct {
	Line    string      `json:"line"`
	Headers [][2]string `json:"headers"`
	Body    string      `json:"body_text"`
}

type recording struct {
	Name              string
	Request, Response side
}

// recordings are all that there are, by the file and the name.
func recordings(t testing.TB) map[string]recording {
	t.Helper()
	files, err := filepath.Glob("../testdata/ews/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	all := make(map[string]recording)
	for _, file := range files {
		octets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var read struct{ Exchanges []recording }
		if err := json.Unmarshal(octets, &read); err != nil {
			t.Fatal(file, err)
		}
		for _, one := range read.Exchanges {
			all[filepath.Base(file)[:2]+" "+one.Name] = one
		}
	}
	return all
}

// replay answers with what was recorded, and keeps what it was asked.
type replay struct {
	reply side
	asked string
	field http.Header
}

func (r *replay) RoundTrip(request *http.Request) (*http.Response, error) {
	octets, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	r.asked, r.field = string(octets), request.Header
	if request.ContentLength != int64(len(octets)) {
		return nil, errLength
	}
	header := http.Header{}
	for _, f := range r.reply.Headers {
		header.Add(f[0], f[1])
	}
	status := map[string]int{"200": 200, "500": 500, "401": 401, "405": 405}[strings.Fields(r.reply.Line)[1]]
	return &http.Response{StatusCode: status, Status: r.reply.Line, Header: header, Body: io.NopCloser(strings.NewReader(r.reply.Body))}, nil
}

// player is a client that is answered with a recording.
func player(t testing.TB, one recording) (*Client, *replay) {
	t.Helper()
	r := &replay{reply: one.Response}
	c, err := New(Config{URL: "https://exchange.sakes.example/EWS/Exchange.asmx", Transport: r, Version: Exchange2013SP1})
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

var (
	itemID   = regexp.MustCompile(`<t:ItemId Id="([^"]*)"(?: ChangeKey="([^"]*)")?/>`)
	folderID = regexp.MustCompile(`<t:FolderId Id="([^"]*)"/>`)
	mimeText = regexp.MustCompile(`<t:MimeContent CharacterSet="UTF-8">([^<]*)<`)
	shapes   = regexp.MustCompile(`<m:(Item|Folder)Shape>.*?</m:(Item|Folder)Shape>`)
	order    = regexp.MustCompile(`<m:SortOrder>.*?</m:SortOrder>`)
)

// idsOf are the ids in a request.
func idsOf(body string) (ids []ID) {
	for _, m := range itemID.FindAllStringSubmatch(body, -1) {
		ids = append(ids, ID{m[1], m[2]})
	}
	return ids
}

// choices takes out of a request what the specification leaves to whoever asks: which properties are wanted, and in which order.
func choices(body string) string {
	return order.ReplaceAllString(shapes.ReplaceAllString(body, "<shape/>"), "")
}

// TestRequests: our requests equal the recorded ones but for what is wanted of items and folders.
func TestRequests(t *testing.T) {
	all := recordings(t)
	created := func(name string, item NewItem) func(context.Context, *Client, string) error {
		return func(ctx context.Context, c *Client, asked string) error {
			octets, err := base64.StdEncoding.DecodeString(mimeText.FindStringSubmatch(asked)[1])
			if err != nil {
				return err
			}
			item.Mail, item.Size = func() io.Reader { return bytes.NewReader(octets) }, int64(len(octets))
			_, err = c.CreateItem(ctx, item)
			return err
		}
	}
	folderOf := func(asked string) FolderID { return FolderID{ID: ID{ID: folderID.FindStringSubmatch(asked)[1]}} }
	deleted := func(how Disposal) func(context.Context, *Client, string) error {
		return func(ctx context.Context, c *Client, asked string) error {
			_, err := c.DeleteItem(ctx, idsOf(asked), how)
			return err
		}
	}
	for name, ask := range map[string]func(ctx context.Context, c *Client, asked string) error{
		"01 GetFolder inbox, Default": func(ctx context.Context, c *Client, _ string) error {
			_, _, err := c.GetFolder(ctx, Known(Inbox, ""))
			return err
		},
		"01 GetFolder of another mailbox": func(ctx context.Context, c *Client, _ string) error {
			_, _, err := c.GetFolder(ctx, Known(Inbox, "chris@sakes.example"))
			return err
		},
		"01 FindItem, page at 10": func(ctx context.Context, c *Client, _ string) error {
			_, _, _, err := c.FindItem(ctx, Known(Inbox, ""), 10, 10)
			return err
		},
		"02 GetItem IncludeMimeContent, ten items": func(ctx context.Context, c *Client, asked string) error {
			items, err := c.GetItem(ctx, idsOf(asked), true)
			if err == nil {
				items.Close()
			}
			return err
		},
		"02 ResolveNames, address": func(ctx context.Context, c *Client, _ string) error {
			_, err := c.ResolveNames(ctx, "chris@sakes.example")
			return err
		},
		"03 SyncFolderItems #1": func(ctx context.Context, c *Client, _ string) error {
			_, _, _, err := c.SyncFolderItems(ctx, Known(Inbox, ""), "", 20)
			return err
		},
		"03 CreateItem SaveOnly with MimeContent": created("SaveOnly", NewItem{Disposition: SaveOnly, Folder: Known(Inbox, ""), Delivered: true}),
		"03 UpdateItem IsRead true": func(ctx context.Context, c *Client, asked string) error {
			_, err := c.MarkRead(ctx, idsOf(asked))
			return err
		},
		"03 MoveItem": func(ctx context.Context, c *Client, asked string) error {
			_, _, err := c.MoveItem(ctx, idsOf(asked), folderOf(asked))
			return err
		},
		"03 DeleteItem MoveToDeletedItems":        deleted(MoveToDeletedItems),
		"03 DeleteItem HardDelete":                deleted(HardDelete),
		"03 DeleteItem SoftDelete":                deleted(SoftDelete),
		"04 CreateItem SendOnly with MimeContent": created("SendOnly", NewItem{Disposition: SendOnly}),
		"04 CreateItem SendAndSaveCopy with MimeContent": created("SendAndSaveCopy",
			NewItem{Disposition: SendAndSaveCopy, Folder: Known(SentItems, "")}),
	} {
		t.Run(name, func(t *testing.T) {
			one, there := all[name]
			if !there {
				t.Fatal("not recorded")
			}
			c, r := player(t, one)
			if err := ask(t.Context(), c, one.Request.Body); err != nil {
				t.Error(err)
			}
			got, want := choices(r.asked), choices(one.Request.Body)
			if strings.Contains(name, "DeleteItem") { // which has receipts suppressed
				got = strings.Replace(got, ` SuppressReadReceipts="true"`, "", 1)
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestImpersonation: who acts for somebody says so in the header, and names the mailbox to the front end.
func TestImpersonation(t *testing.T) {
	one := recordings(t)["05 ExchangeImpersonation"]
	r := &replay{reply: one.Response}
	c, err := New(Config{URL: "https://exchange.sakes.example/EWS/Exchange.asmx", Transport: r, Version: Exchange2013SP1, Impersonate: "chris@sakes.example"})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.GetFolder(t.Context(), Known(Inbox, ""))
	if backends.KindOf(err) != backends.Permanent || !Refused(err, ImpersonateDenied) {
		t.Error(err)
	}
	if choices(r.asked) != choices(one.Request.Body) || r.field.Get("X-AnchorMailbox") != "chris@sakes.example" {
		t.Errorf("%s\n%v", r.asked, r.field)
	}
}

// read reads a reply as whoever asked for it would.
func read(ctx context.Context, c *Client, one recording) (said string, err error) {
	operation := regexp.MustCompile(`<m:(\w+)[ />]`).FindStringSubmatch(one.Request.Body)
	if operation == nil {
		operation = []string{"", "GetFolder"}
	}
	ids := idsOf(one.Request.Body)
	var failures []*backends.Failure
	switch operation[1] {
	case "GetFolder":
		_, failures, err = c.GetFolder(ctx, make([]FolderID, strings.Count(one.Request.Body, "FolderId Id="))...)
	case "FindFolder":
		_, _, err = c.FindFolder(ctx, Known(Top, ""), 0)
	case "FindItem":
		_, _, _, err = c.FindItem(ctx, Known(Inbox, ""), 0, 1000)
	case "GetItem":
		return readItems(c.GetItem(ctx, ids, strings.Contains(one.Request.Body, "IncludeMimeContent")))
	case "ExportItems":
		return readItems(c.ExportItems(ctx, ids))
	case "SyncFolderItems":
		_, _, _, err = c.SyncFolderItems(ctx, Known(Inbox, ""), "", 512)
	case "DeleteItem":
		failures, err = c.DeleteItem(ctx, ids, SoftDelete)
	case "MoveItem":
		_, failures, err = c.MoveItem(ctx, ids, Known(Inbox, ""))
	case "UpdateItem":
		failures, err = c.MarkRead(ctx, ids)
	case "CreateItem":
		disposition := Disposition(regexp.MustCompile(`MessageDisposition="(\w+)"`).FindStringSubmatch(one.Request.Body)[1])
		_, err = c.CreateItem(ctx, NewItem{Disposition: disposition, Mail: func() io.Reader { return strings.NewReader("x") }, Size: 1})
	case "ResolveNames":
		var people []Person
		people, err = c.ResolveNames(ctx, "x")
		if err == nil && len(people) == 0 {
			said = "nobody "
		}
	default:
		return "none of ours", nil
	}
	for _, f := range failures {
		if f != nil {
			said += f.Kind.String() + " "
		}
	}
	return said, err
}

func readItems(items *Items, err error) (said string, failed error) {
	if err != nil {
		return "", err
	}
	defer items.Close()
	for {
		item, err := items.Next()
		if err == io.EOF {
			return said, nil
		}
		if one, is := err.(*ItemError); is {
			said += one.Kind.String() + " "
			continue
		} else if err != nil {
			return said, err
		}
		if item.Content == nil {
			continue
		}
		octets, err := io.ReadAll(item.Content)
		if err != nil || len(octets) == 0 || item.ID.ID == "" {
			return said, err
		}
	}
}

// TestReplies reads each reply that was recorded. Those that are not here succeed.
func TestReplies(t *testing.T) {
	want := map[string]string{
		"01 GetFolder of another mailbox":                              "permanent ",
		"02 ResolveNames, nobody":                                      "nobody ",
		"03 GetItem with the old id":                                   "not found ",
		"03 DeleteItem HardDelete again":                               "not found ",
		"04 CreateItem SendOnly, recipient that the transport refuses": "uncertain",
		"04 CreateItem SendOnly, MimeContent is not base64":            "uncertain",
		"05 GetItem, item does not exist":                              "not found ",
		"05 GetItem, malformed id":                                     "not found ",
		"05 GetItem, id is not base64":                                 "not found ",
		"05 GetItem, empty id":                                         "not found ",
		"05 GetItem, folder id given as item id":                       "not found ",
		"05 GetItem, three ids, the second malformed":                  "not found ",
		"05 GetFolder, unknown distinguished name":                     "temporary",
		"05 FindItem, malformed folder id":                             "not found",
		"05 401, no credentials":                                       "bad credentials",
		"05 401, wrong password":                                       "bad credentials",
		"05 malformed XML":                                             "temporary",
		"05 not SOAP":                                                  "temporary",
		"05 empty body":                                                "temporary",
		"05 schema violation":                                          "temporary",
		"05 ExportItems":                                               "temporary",
		"05 ExchangeImpersonation":                                     "permanent",
		"05 GET":                                                       "unsupported",
	}
	all := recordings(t)
	for name := range want {
		if _, there := all[name]; !there {
			t.Errorf("%q is not recorded", name)
		}
	}
	for name, one := range all {
		c, _ := player(t, one)
		said, err := read(t.Context(), c, one)
		got := said
		if err != nil {
			got = backends.KindOf(err).String()
		}
		if got != want[name] && got != "none of ours" {
			t.Errorf("%s: %q, want %q: %v", name, got, want[name], err)
		}
	}
}

// TestFields: what was recorded of items and folders is read.
func TestFields(t *testing.T) {
	all := recordings(t)
	c, _ := player(t, all["01 FindItem, page at 10"])
	items, next, more, err := c.FindItem(t.Context(), Known(Inbox, ""), 10, 10)
	if err != nil || len(items) != 10 || next != 20 || !more {
		t.Fatal(len(items), next, more, err)
	}
	first := items[0]
	if first.Size != 6695 || first.Read || len(first.EntryID) != 70 || first.Received.Format("15:04:05.0000000") != "21:53:30.3865623" ||
		first.ChangeKey != "AQAAAKUYe2+83Ooe0DxWVwAAAAAALw==" {
		t.Errorf("%+v", first)
	}
	c, _ = player(t, all["02 GetItem IncludeMimeContent"])
	got, err := c.GetItem(t.Context(), []ID{{ID: "x"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	item, err := got.Next()
	if err != nil {
		t.Fatal(err)
	}
	octets, err := io.ReadAll(item.Content)
	if err != nil || !bytes.HasPrefix(octets, []byte("MIME-Version: 1.0\r\n")) || item.Size != 2934 {
		t.Errorf("%.40q, %d, %v", octets, item.Size, err)
	}
	c, _ = player(t, all["02 ResolveNames, address"])
	people, err := c.ResolveNames(t.Context(), "chris")
	if err != nil || len(people) != 1 || people[0].Name != "Chris Sakes" || people[0].Address != "chris@sakes.example" {
		t.Error(people, err)
	}
}
