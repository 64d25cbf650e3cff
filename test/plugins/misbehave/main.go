// Command misbehave is a plugin that does one thing wrong, for tests of how that is contained:
//
//	misbehave MODE
//
// Where the mode is about later life, it serves a Maildir store, or one in memory; the others
// never get so far.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
	"github.com/dipylon/dipylon/plugins/serve"
)

func main() {
	mode := ""
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	switch mode {
	case "fine": // nothing is wrong with it
		serve.Store(maildir.New())
	case "silent": // never says that it is ready
		select {}
	case "exit": // ends at once
		os.Exit(3)
	case "garbage": // says something else than the handshake
		fmt.Println(strings.Repeat("garbage ", 1000))
		select {}
	case "version": // speaks a protocol of another time
		fmt.Println("1|99|unix|/nonexistent/socket|grpc|")
		select {}
	case "socket": // names a socket where nobody is
		fmt.Println("1|2|unix|/nonexistent/socket|grpc|")
		select {}
	case "unlucky": // takes its settings to check them, and not to use them
		serve.Store(unlucky{maildir.New()})
	case "flood": // floods its standard error while it serves
		go flood(os.Stderr)
		serve.Store(maildir.New())
	case "slow": // takes for ever over each login
		serve.Store(slow{maildir.New()})
	case "poison": // cannot give some of its messages
		serve.Store(poisoned{maildir.New()})
	case "crashes": // ends when it reads a certain message of an outbox
		serve.Store(crashing{maildir.New()})
	case "liar": // says what it must not, where a client could see it
		serve.Store(liar{maildir.New()})
	case "top": // answers TOP with the whole message
		serve.Store(whole{memstore.New()})
	case "endless": // never ends a maildrop
		serve.Store(endless{maildir.New()})
	case "endless-memory":
		serve.Store(endlessMemory{memstore.New()})
	default:
		fmt.Fprintf(os.Stderr, "misbehave: there is no mode %q\n", mode)
		os.Exit(2)
	}
}

// flood writes what is hard to take: long lines, no line ends, lines that look like the log's
// own, and much of all.
func flood(w io.Writer) {
	lines := [][]byte{
		[]byte("{\"@message\":1}\n"),
		[]byte("{\"@level\":7,\"@timestamp\":[],\"@message\":null}\n"),
		bytes.Repeat([]byte("long "), 100_000),
		[]byte("\n\x00\x1b[31m\xff\n"),
		bytes.Repeat([]byte("short\n"), 10_000),
	}
	for {
		for _, line := range lines {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// unlucky is a store that finds nothing wrong with its settings, and cannot use them.
type unlucky struct{ *maildir.Store }

func (u unlucky) Configure(ctx context.Context, settings backends.Settings) error {
	if settings.Check {
		return u.Store.Configure(ctx, settings)
	}
	return backends.Fail(backends.Temporary, "the lock of the store is held")
}

// slow is a store that never comes to an end with a login.
type slow struct{ *maildir.Store }

func (s slow) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	<-ctx.Done()
	return backends.Account{}, ctx.Err()
}

func (s slow) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// poisoned is a store that cannot give a message in whose top a word stands: it says so
// ("X-Poison: said"), or fails with it ("X-Poison: fails"), until a file named antidote is in its
// folder.
type poisoned struct{ *maildir.Store }

func (s poisoned) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	drop, err := s.Store.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	return poisonedDrop{drop}, nil
}

type poisonedDrop struct{ backends.Maildrop }

func (d poisonedDrop) Fetch(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
	header, err := d.Maildrop.Fetch(ctx, backends.FetchRequest{ID: r.ID, Top: true})
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(header)
	_ = header.Close()
	_, cured := os.Stat("antidote")
	switch {
	case err != nil:
		return nil, err
	case cured == nil:
	case bytes.Contains(text, []byte("X-Poison: said")):
		return nil, backends.Fail(backends.Poison, "property 0x1000 is damaged").Say("the message is damaged")
	case bytes.Contains(text, []byte("X-Poison: fails")):
		return nil, backends.Fail(backends.Temporary, "node 7 is down")
	}
	return d.Maildrop.Fetch(ctx, r)
}

// crashing is a store whose process ends when it reads a message of an outbox in which a word stands, until a file named
// antidote is in its folder.
type crashing struct{ *maildir.Store }

func (s crashing) Collect(ctx context.Context, r backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	return s.Store.Collect(ctx, r, func(ctx context.Context, m backends.Outgoing, c backends.Content) error {
		return accept(ctx, m, deadly{c})
	})
}

type deadly struct{ backends.Content }

func (c deadly) Read(p []byte) (int, error) {
	n, err := c.Content.Read(p)
	if _, cured := os.Stat("antidote"); cured != nil && bytes.Contains(p[:n], []byte("X-Poison: kills")) {
		os.Exit(3)
	}
	return n, err
}

// endless is a store that does not come to an end with closing a maildrop, and does not end itself
// while one is open.
type endless struct{ *maildir.Store }

func (s endless) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	d, err := s.Store.Open(ctx, r)
	return endlessDrop{d}, err
}

type endlessMemory struct{ *memstore.Store }

func (s endlessMemory) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	d, err := s.Store.Open(ctx, r)
	return endlessDrop{d}, err
}

type endlessDrop struct{ backends.Maildrop }

func (d endlessDrop) Close() error {
	_ = d.Maildrop.Close()
	_, _ = fmt.Fprintln(os.Stderr, "a maildrop is closed without an end")
	select {}
}

// liar is a store whose texts are an attack on the client.
type liar struct{ *maildir.Store }

func (s liar) Open(context.Context, backends.OpenRequest) (backends.Maildrop, error) {
	return nil, backends.Fail(backends.Temporary, "secret detail").Say("[AUTH] first\r\n+OK second\r\n" + strings.Repeat("x", 10_000))
}

// whole is a store that knows no tops.
type whole struct{ *memstore.Store }

func (s whole) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	d, err := s.Store.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	return wholeDrop{d}, nil
}

type wholeDrop struct{ backends.Maildrop }

// MarkSeen is what the description promises: one thing is wrong with this store, and no more.
func (d wholeDrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	return d.Maildrop.(backends.Marker).MarkSeen(ctx, ids)
}

func (d wholeDrop) Fetch(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
	r.Top = false
	return d.Maildrop.Fetch(ctx, r)
}
