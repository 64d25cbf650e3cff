package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/backends/probe"
)

const (
	// waitMost is for how long a test mail is waited for, and lookEvery how often it is looked for.
	waitMost, lookEvery = 2 * time.Minute, 2 * time.Second
	// looksMost bounds how many messages of a folder are looked at, the last ones.
	looksMost = 50
)

var notArrived = probe.Cause{
	Name: "not-arrived", Advice: "The mail was taken and has not come into the mailbox's folder: look at the provider's message trace, and into the folder for junk.",
}

// TestMail is a mail from an address to itself, and its Message-ID.
func TestMail(address string, now time.Time) (id string, mail []byte) {
	id = "<" + strings.ToLower(rand.Text()) + ".doctor@" + address[strings.LastIndexByte(address, '@')+1:] + ">"
	return id, fmt.Appendf(nil, "Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nSubject: Test of the mail gateway (dipylon doctor)\r\nMessage-ID: %s\r\nAuto-Submitted: auto-generated\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nThis mail was sent by \"dipylon doctor --send-to-self\" to find out whether mail\r\ngoes out and comes back. It can be deleted.\r\n",
		now.Format("Mon, 2 Jan 2006 15:04:05 -0700"), address, address, id)
}

// sendToSelf sends a mail from the mailbox to itself, and waits for it there.
func (e *examination) sendToSelf() {
	sender, ok := e.store.(backends.Sender)
	switch {
	case !ok || !e.options.Can.Sender:
		e.Skip("send", "the store does not send with these settings")
		return
	case e.options.Address == "" || e.options.Login.Credential.Kind == 0:
		e.Skip("send", "name a mailbox that is an address")
		return
	}
	id, mail := TestMail(e.options.Address, time.Now())
	if !e.Step("send", func(ctx context.Context) (probe.Found, error) { return e.send(ctx, sender, id, mail) }) {
		return
	}
	reader, ok := e.store.(backends.Reader)
	if !ok || !e.options.Can.Reader {
		e.Skip("arrival", "the store's mailboxes cannot be read")
		return
	}
	e.Step("arrival", func(ctx context.Context) (probe.Found, error) { return e.arrival(ctx, reader, id) })
}

func (e *examination) send(ctx context.Context, sender backends.Sender, id string, mail []byte) (found probe.Found, err error) {
	d := backends.Delivery{
		Key: rand.Text(), Envelope: backends.Envelope{From: e.options.Address}, Recipients: backends.To(e.options.Address), Size: int64(len(mail)), Received: time.Now(),
		Peer: backends.Peer{Protocol: "doctor"},
	}
	verdicts, err := sender.Send(ctx, e.options.Login.Credential, d, bytes.NewReader(mail))
	for _, v := range verdicts {
		if err == nil && v.Failure != nil {
			err = v.Failure
		}
	}
	return probe.Found{Detail: "a mail to itself was taken: " + id}, probe.Said(err)
}

// arrival waits until the mail is in the folder.
func (e *examination) arrival(ctx context.Context, reader backends.Reader, id string) (found probe.Found, err error) {
	most := e.options.Patience
	if most == 0 {
		most = waitMost
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	began := time.Now()
	for {
		there, err := e.there(ctx, reader, id)
		switch {
		case there:
			return probe.Found{Detail: fmt.Sprintf("the mail came back after %s", time.Since(began).Round(time.Second))}, nil
		case err != nil && ctx.Err() == nil:
			return found, probe.Said(err)
		case !pause.For(ctx, lookEvery):
			return found, probe.Because(notArrived, backends.Fail(backends.Temporary, "the mail is not there after %s", most))
		}
	}
}

// there says whether a message is among the last ones of the folder.
func (e *examination) there(ctx context.Context, reader backends.Reader, id string) (bool, error) {
	drop, err := reader.Open(ctx, backends.OpenRequest{Credential: e.options.Login.Credential, Folder: e.options.Login.Folder})
	if err != nil {
		return false, err
	}
	defer drop.Close() //nolint:errcheck // it was only read
	var last []backends.Entry
	for entry, err := range drop.List(ctx) {
		if err != nil {
			return false, err
		}
		if last = append(last, entry); len(last) > looksMost {
			last = last[1:]
		}
	}
	for _, entry := range last {
		if found, err := has(ctx, drop, entry, id); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// has says whether a message has the Message-ID. One that cannot be read is another one.
func has(ctx context.Context, drop backends.Maildrop, entry backends.Entry, id string) (bool, error) {
	c, err := drop.Fetch(ctx, backends.FetchRequest{ID: entry.ID})
	if err != nil {
		return false, ctx.Err()
	}
	defer c.Close() //nolint:errcheck // of its end nothing is wanted
	h, _, err := header.Read(io.LimitReader(c, header.Most), header.Most)
	if err != nil {
		return false, ctx.Err()
	}
	for _, field := range h.All("Message-ID") {
		if strings.Contains(field.Value(), id) {
			return true, nil
		}
	}
	return false, nil
}
