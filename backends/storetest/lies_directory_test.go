package storetest_test

import (
	"context"
	"io"

	"github.com/dipylon/dipylon/backends"
)

// inDirectory changes the entries of the directory.
func inDirectory(change func(recipient string, e *backends.DirectoryEntry)) func(*liar) {
	return func(l *liar) {
		l.resolve = func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
			verdicts, err := l.Store.Resolve(ctx, q)
			for i, v := range verdicts {
				if v.Directory != nil {
					e := *v.Directory
					change(v.Recipient, &e)
					verdicts[i].Directory = &e
				}
			}
			return verdicts, err
		}
	}
}

var directoryLies = []lie{
	{
		name: "a member of a list is named twice",
		tell: inDirectory(func(_ string, e *backends.DirectoryEntry) {
			e.Members = append(e.Members[:len(e.Members):len(e.Members)], e.Members...)
		}),
		fails: []string{"receiver/directory-form", "receiver/directory-list"},
	},
	{
		name:  "an address is its own canonical one",
		tell:  inDirectory(func(recipient string, e *backends.DirectoryEntry) { e.Address = recipient }),
		fails: []string{"receiver/directory-canonical"},
	},
	{
		name:  "the canonical address is nobody's",
		tell:  inDirectory(func(_ string, e *backends.DirectoryEntry) { e.Address = "nobody@sakes.example" }),
		fails: []string{"receiver/directory-canonical"},
	},
	{
		name:  "the members of a list are not told",
		tell:  inDirectory(func(_ string, e *backends.DirectoryEntry) { e.Members = nil }),
		fails: []string{"receiver/directory-list"},
	},
	{
		name: "a list's mail is its first member's",
		tell: delivering(func(deliver deliverFunc) deliverFunc {
			return func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if d.Recipients[0].Address != "all@sakes.example" {
					return deliver(ctx, d, content)
				}
				asked := d.Recipients
				d.Recipients = asked[1:]
				verdicts, err := deliver(ctx, d, content)
				return append([]backends.Verdict{{Recipient: asked[0].Address, Action: backends.ActionExpanded}}, verdicts...), err
			}
		}),
		fails: []string{"receiver/directory-list"},
	},
	{
		name: "everybody wants plain text",
		tell: inDirectory(func(_ string, e *backends.DirectoryEntry) {
			e.Preferences = backends.Preferences{RichText: backends.RichTextNever}
		}),
		fails: []string{"receiver/directory-preferences"},
	},
}
