package maildrop_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
)

// winmail is TNEF with a file of so many octets, as the fields and the body of a part.
func winmail(t *testing.T, octets int) string {
	t.Helper()
	a := &mapi.Attachment{Data: mapi.ContentOf([]byte(strings.Repeat("%", octets)))}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String("bill.pdf"))
	m := &mapi.Message{Attachments: []*mapi.Attachment{a}}
	var stream bytes.Buffer
	if err := tnef.Encode(&stream, m, tnef.Options{}); err != nil {
		t.Fatal(err)
	}
	return "Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(stream.Bytes()) + "\r\n"
}

// mixedWith is a message with a text and a part.
func mixedWith(part string) string {
	return "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nThe bill\r\n--b\r\n" + part + "--b--\r\n"
}

// opening is a gateway that opens TNEF where alice's policy says so, and whose store cuts tops.
func opening(t *testing.T, buffers buffer.Options) (g *gateway, put func(winmail string)) {
	t.Helper()
	policies := &policy.Current{}
	put = func(winmail string) {
		policies.Put(policiesOf(t, "      - {address: alice-id, policy: {winmail: "+winmail+"}}\n"))
	}
	put("read")
	g = newGateway(t, withIndex(newIndex(t)), func(o *maildrop.Options) {
		o.Winmail, o.Policies = content.NewWinmail(buffers, 2), policies
	})
	g.store.onFetch = func(_ context.Context, request backends.FetchRequest) (backends.Content, error) {
		body := io.Reader(strings.NewReader(g.store.bodies[request.ID]))
		if request.Top {
			body = crlf.Top(crlf.NewReader(body), request.Lines)
		}
		return &fakeContent{Reader: body}, nil
	}
	return g, put
}

// agree has alice read everything, and makes sure that sizes, messages and tops agree (I6). It returns the messages and
// their unique-ids.
func (g *gateway) agree() (messages []string, ids string) {
	g.t.Helper()
	drop := g.as("alice")
	defer func() { _ = drop.Close() }()
	for n := 1; n <= drop.Len(); n++ {
		size, err := drop.Size(g.t.Context(), n)
		if err != nil {
			g.t.Fatal(err)
		}
		message, err := read(g.t, drop, n, -1)
		if octets, _ := crlf.Length(strings.NewReader(message)); err != nil || octets != size {
			g.t.Errorf("message %d has %d octets, was told with %d, %v", n, octets, size, err)
		}
		for _, lines := range []int{0, 1, 8} {
			want, _ := io.ReadAll(crlf.Top(crlf.NewReader(strings.NewReader(message)), lines))
			if top, err := read(g.t, drop, n, lines); err != nil || top != string(want) {
				g.t.Errorf("the top of message %d, %d lines, is %q (%v), want %q", n, lines, top, err, want)
			}
		}
		messages = append(messages, message)
	}
	return messages, uidls(drop)
}

// TestWinmail: what LIST says is what RETR gives, and TOP is the top of it, whether TNEF is opened or not; unique-ids
// stay (I6, I7).
func TestWinmail(t *testing.T) {
	t.Parallel()
	for _, measures := range []bool{false, true} {
		t.Run(fmt.Sprintf("measures=%t", measures), func(t *testing.T) {
			t.Parallel()
			g, put := opening(t, buffer.Options{})
			g.store.said.Reading.Measures = measures
			for i, body := range []string{
				letter, "Content-Type: text/html\r\n\r\n" + strings.Repeat("a\r\n", 20), mixedWith("Content-Type: a/b; name=x\r\n\r\ny\r\n"),
				mixedWith(winmail(t, 1000)), mixedWith(winmail(t, 300_000)), "Subject: x\r\n" + winmail(t, 10), strings.ReplaceAll(mixedWith(winmail(t, 10)), "\r\n", "\n"),
			} {
				g.store.add(fmt.Sprint("m", i), body)
				g.store.entries[i].Exact = i < 6
			}
			g.store.onMeasure = func(m *backends.Measured) (err error) {
				m.Size, err = crlf.Length(strings.NewReader(g.store.bodies[m.ID]))
				return err
			}
			opened, ids := g.agree()
			for i, message := range opened {
				if wants := i >= 3; strings.Contains(message, "bill.pdf") != wants || strings.Contains(message, "ms-tnef") {
					t.Errorf("message %d is\n%.2000s", i+1, message)
				}
			}
			if again, _ := g.agree(); !slices.Equal(again, opened) {
				t.Error("another session has other octets")
			}
			// A session does not wait for a disk that is slow to keep its sizes; another one keeps them then.
			for within := time.Now().Add(time.Minute); g.sized() > 0; g.agree() {
				if time.Now().After(within) {
					t.Fatal("sizes that were known are asked for")
				}
			}
			put("keep")
			kept, same := g.agree()
			for i, message := range kept {
				if message != g.store.bodies[backends.MessageID(fmt.Sprint("m", i))] {
					t.Errorf("message %d is another one: %.2000s", i+1, message)
				}
			}
			if same != ids {
				t.Errorf("the unique-ids are %s, and were %s", same, ids)
			}
			put("deliver") // it is read so, too
			if again, _ := g.agree(); !slices.Equal(again, opened) {
				t.Error("the first policy again has other octets")
			}
		})
	}
}

// sized has alice ask for all sizes, and returns how often the store was asked for that.
func (g *gateway) sized() int64 {
	g.t.Helper()
	var asked atomic.Int64
	fetch := g.store.onFetch
	g.store.onFetch = func(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
		asked.Add(1)
		return fetch(ctx, request)
	}
	drop := g.as("alice")
	for n := 1; n <= drop.Len(); n++ {
		if _, err := drop.Size(g.t.Context(), n); err != nil {
			g.t.Error(err)
		}
	}
	if err := drop.Close(); err != nil {
		g.t.Error(err)
	}
	g.store.onFetch = fetch // nobody fetches any more
	return asked.Load()
}

// fullDisk is where no file can be made.
type fullDisk struct{}

func (fullDisk) Create() (buffer.File, error) { return nil, errors.New("no space") }

// TestWinmailOnAFullDisk: nobody gets a message in another form than the one whose size was told, and the message is not
// held for what the gateway's disk does.
func TestWinmailOnAFullDisk(t *testing.T) {
	t.Parallel()
	g, _ := opening(t, buffer.Options{Storage: fullDisk{}})
	g.store.add("m", mixedWith(winmail(t, 300_000)))
	drop := g.login()
	for range 10 {
		if _, err := drop.Size(t.Context(), 1); code(err) != "-ERR [SYS/TEMP]" {
			t.Fatalf("%v", err)
		}
		if got, err := read(t, drop, 1, 5); err == nil {
			t.Fatalf("TOP gave %q", got)
		}
	}
}

// toldContent says how many octets come.
type toldContent struct {
	fakeContent
	size int64
}

func (c *toldContent) Size() int64 { return c.size }

// TestWinmailCutOff: a message that does not come whole is not made another one (I3).
func TestWinmailCutOff(t *testing.T) {
	t.Parallel()
	for _, wrong := range []int64{-1, 1} {
		g, _ := opening(t, buffer.Options{})
		body := mixedWith(winmail(t, 100))
		g.store.add("m", body)
		g.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) {
			return &toldContent{fakeContent{Reader: strings.NewReader(body)}, int64(len(body)) + wrong}, nil
		}
		if got, err := g.login().Size(t.Context(), 1); err == nil {
			t.Errorf("%d octets, of a message that is cut off", got)
		}
	}
}
