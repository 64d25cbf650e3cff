package maildrop

import (
	"context"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Inventory lists an open maildrop of a store with the unique-ids that clients are told
// (RFC 1939 §7), and with the properties of each message that stay when it is moved to another mail
// system. Messages are rendered as in the sessions of the account. Of the options it takes Log, Index, Keys,
// Policies and MessagesMost.
func Inventory(ctx context.Context, o Options, store *stores.Store, folder string, inner backends.Maildrop) ([]index.Import, error) {
	form := o.Policies.Of(store.Name, inner.Opened().Account).Rendering
	d := &drop{
		o: &New(o).o, store: store, folder: folder, inner: inner,
		policy: &policy.Policy{}, rendering: store.Description.Reading.Rendering(form),
	}
	var err error
	if d.box, err = o.Keys.Peek(ctx, d.mailbox()); err != nil {
		return nil, err
	}
	if err := d.openIndex(ctx); err != nil {
		return nil, err
	}
	list, err := d.takeSnapshot(ctx, inner)
	if err != nil {
		return nil, err
	}
	d.list = list
	ids := make([]string, d.Len())
	for i := range ids {
		ids[i] = string(list.id(i))
	}
	candidates, err := d.fingerprints(ctx, ids, list.sizes)
	if err != nil {
		return nil, err
	}
	imports := make([]index.Import, len(candidates))
	for i, c := range candidates {
		imports[i] = index.Import{UIDL: list.uidl(i), MessageID: c.MessageID, Digest: c.Digest, Digested: true, Size: c.Size}
	}
	return imports, nil
}
