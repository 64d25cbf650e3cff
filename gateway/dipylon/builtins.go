package main

import (
	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/backends/jmap"
	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/plugins/serve"
)

// builtin is a backend that is compiled in. It still runs in a process of its own.
type builtin struct {
	kind  string
	short string
	new   func() backends.Store
}

func builtins() []builtin {
	return []builtin{
		{"imap", "an IMAP server, with LMTP or APPEND for delivery", func() backends.Store { return imap.New(imap.WithLogger(serve.Logger())) }},
		{"jmap", "a JMAP server, with LMTP or Email/import for delivery", func() backends.Store { return jmap.New() }},
		{"maildir", "Maildir folders on this machine's disk", func() backends.Store { return maildir.New() }},
	}
}

func builtinKinds() []string {
	var kinds []string
	for _, b := range builtins() {
		kinds = append(kinds, b.kind)
	}
	return kinds
}
