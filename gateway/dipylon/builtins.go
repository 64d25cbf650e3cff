package main

import (
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/backends/jmap"
	"github.com/dipylon/dipylon/backends/maildir"
)

// builtin is a backend that is compiled in. It still runs in a process of its own.
// What it logs goes to the gateway: a constructor that takes no logger does not fit here.
type builtin struct {
	kind  string
	short string
	new   func(zerolog.Logger) backends.Store
	disk  bool // it waits for this machine's disk, for each message
}

func builtins() []builtin {
	return []builtin{
		{"exchange", "an Exchange server, by MAPI over HTTP or EWS", func(log zerolog.Logger) backends.Store { return exchange.New(exchange.WithLogger(log)) }, false},
		{"imap", "an IMAP server, with LMTP or APPEND for delivery", func(log zerolog.Logger) backends.Store { return imap.New(imap.WithLogger(log)) }, false},
		{"jmap", "a JMAP server, with LMTP or Email/import for delivery", func(log zerolog.Logger) backends.Store { return jmap.New(jmap.WithLogger(log)) }, false},
		{"maildir", "Maildir folders on this machine's disk", func(log zerolog.Logger) backends.Store { return maildir.New(maildir.WithLogger(log)) }, true},
	}
}

func builtinKinds() []string {
	var kinds []string
	for _, b := range builtins() {
		kinds = append(kinds, b.kind)
	}
	return kinds
}
