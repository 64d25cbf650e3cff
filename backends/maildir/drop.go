package maildir

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/pickup"
)

// Outbox is an account's outbox, for programs that put messages into it while a gateway uses the store, or before it
// does. Who may is the file system's affair.
type Outbox struct {
	Folder string // …/.Outbox
	Domain string // of addresses that have none
}

// OutboxRoot is the root folder of a store whose settings say that there are outboxes; empty: they do not.
func OutboxRoot(in backends.Settings) (root string, err error) {
	var own struct {
		Root   string `json:"root"`
		Outbox bool   `json:"outbox"`
	}
	if len(in.Raw) == 0 {
		return "", nil
	}
	if err := json.Unmarshal(in.Raw, &own); err != nil || !own.Outbox {
		return "", err
	}
	if own.Root == "" {
		own.Root = defaultRoot
	}
	return absolute(in.BaseDir, own.Root), nil
}

// OutboxOf is the outbox of an account. It makes the folder if the mailbox is there and the outbox is not.
func OutboxOf(root, account string) (Outbox, error) {
	a, err := parseAddress(account)
	if err != nil {
		return Outbox{}, fmt.Errorf("%q is no address: %w", account, err)
	}
	dir := boxDir(root, a)
	if _, err := os.Stat(dir); err != nil {
		return Outbox{}, fmt.Errorf("the mailbox of %s: %w", account, err)
	}
	o := Outbox{Folder: filepath.Join(dir, outboxFolder), Domain: a.domain}
	if _, err := os.Stat(filepath.Join(o.Folder, "new")); errors.Is(err, os.ErrNotExist) {
		if err := mkdirs(disk{}, o.Folder); err != nil {
			return Outbox{}, err
		}
		return o, makeFolder(disk{}, o.Folder)
	}
	return o, nil
}

// OutboxIn is the outbox that a folder is.
func OutboxIn(folder string) (Outbox, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return Outbox{}, err
	}
	if filepath.Base(folder) != outboxFolder {
		return Outbox{}, fmt.Errorf("%s is no outbox: it is the folder %s of a mailbox", folder, outboxFolder)
	}
	if _, err := os.Stat(filepath.Join(folder, "new")); err != nil {
		return Outbox{}, err
	}
	domain, err := parseDomain(filepath.Base(filepath.Dir(filepath.Dir(folder))))
	if err != nil {
		return Outbox{}, fmt.Errorf("the folder %s is not in a store: %w", folder, err)
	}
	return Outbox{Folder: folder, Domain: domain}, nil
}

// Addresses reads a list of addresses as it stands in a header field or on a command line. Those without a domain
// are in the account's. The error is for the first that cannot be read.
func (o Outbox) Addresses(text string) ([]backends.Recipient, error) {
	l := addressList{domain: o.Domain}
	for _, one := range splitAddresses(text) {
		l.add(one)
		if l.seen[pickup.NotAnAddress] {
			return nil, fmt.Errorf("%q is no address", one)
		}
	}
	return l.all, nil
}

// Drop puts a message into the outbox. When it returns nil, all of it is on the disk, and will be sent.
func (o Outbox) Drop(e pickup.Envelope, message io.Reader) (err error) {
	name := newNamer("localhost", time.Now).unique("drop")
	tmp, final := filepath.Join(o.Folder, "tmp", name), filepath.Join(o.Folder, "new", name)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // the first error is the one that is told
			_ = os.Remove(tmp)
		}
	}()
	if err := share(f, o.Folder); err != nil {
		return err
	}
	if _, err := io.Copy(f, io.MultiReader(strings.NewReader(e.String()), behindEnvelope(message))); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	return disk{}.SyncDir(filepath.Dir(final))
}

// behindEnvelope has a trace field (RFC 5322 §3.6.7) in front of a message that begins as an envelope does: who writes a
// message does not say whom it is for, and from whom, where the command line does.
func behindEnvelope(message io.Reader) io.Reader {
	all := bufio.NewReader(message)
	start, _ := all.Peek(pickup.StartMost) // what has failed fails again
	if !pickup.Begins(start) {
		return all
	}
	return io.MultiReader(strings.NewReader("Received: by localhost; "+time.Now().Format("Mon, 2 Jan 2006 15:04:05 -0700")+"\n"), all)
}

// InHeader are the recipients that a message's header names. The error is for the first that cannot be read.
func (o Outbox) InHeader(h *header.Header) (all []backends.Recipient, err error) {
	for _, f := range recipientFields(h) {
		found, err := o.Addresses(f.Value())
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}
