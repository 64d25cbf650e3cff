//go:build linux

package stores

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/test/harness"
)

// other is another client of a store: it speaks IMAP with it, past the gateway.
type other struct{ *imapclient.Client }

func dialIMAP(t *testing.T, server, name string) other {
	t.Helper()
	c, err := imapclient.DialInsecure(server, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Login(address(name), secret(name)).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	return other{c}
}

// body is a message as the store itself gives it.
func (o other) body(t *testing.T, n int) []byte {
	t.Helper()
	whole := &imap.FetchItemBodySection{Peek: true}
	got, err := o.Fetch(imap.SeqSetNum(uint32(n)), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil || len(got) != 1 {
		t.Fatalf("message %d: %d answers (%v)", n, len(got), err)
	}
	return got[0].FindBodySection(whole)
}

// remove has another client remove a message. It speaks without a library, as GNU Mailutils answers
// "EXPUNGED", which none reads.
func remove(t *testing.T, server, name string, n int) {
	t.Helper()
	c := harness.Dial(t, server, nil)
	defer c.Close()
	for _, command := range []string{
		"LOGIN " + address(name) + " " + secret(name), "SELECT INBOX", fmt.Sprintf(`STORE %d +FLAGS.SILENT (\Deleted)`, n), "EXPUNGE", "LOGOUT",
	} {
		c.Send("a %s", command)
		line := c.Line()
		for !strings.HasPrefix(line, "a ") {
			line = c.Line()
		}
		if !strings.HasPrefix(line, "a OK") {
			t.Fatalf("%s: %s", command, line)
		}
	}
}

// add appends a message.
func (o other) add(t *testing.T, message []byte) {
	t.Helper()
	if err := o.append(message); err != nil {
		t.Fatal(err)
	}
}

// append appends a message that the store may refuse.
func (o other) append(message []byte) error {
	command := o.Append("INBOX", int64(len(message)), nil)
	if _, err := command.Write(message); err != nil {
		return err
	}
	if err := command.Close(); err != nil {
		return err
	}
	_, err := command.Wait()
	return err
}

func (o other) count(t *testing.T) int {
	t.Helper()
	data, err := o.Status("INBOX", &imap.StatusOptions{NumMessages: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return int(*data.NumMessages)
}
