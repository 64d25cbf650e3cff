//go:build linux

package stores

import (
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
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

// remove has another client remove a message.
func remove(t *testing.T, server, name string, n int) {
	t.Helper()
	o := dialIMAP(t, server, name)
	defer o.Close()
	marked := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := o.Store(imap.SeqSetNum(uint32(n)), marked, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.Expunge().Close(); err != nil {
		t.Fatal(err)
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
