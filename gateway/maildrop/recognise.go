package maildrop

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
)

// recognisedAtOnce is how many messages are compared before the result is written: a login that is
// broken off loses no more than these.
const recognisedAtOnce = 500

// openIndex reads what is known of the folder.
func (d *drop) openIndex(ctx context.Context) error {
	d.known = &index.Folder{}
	if d.o.Index == nil {
		return nil
	}
	var importedAs folder.Key
	if address := d.inner.Opened().Account.Address; address != "" {
		importedAs = folder.Key{Store: d.box.Store, Account: fold.Lower(address), Folder: fold.Lower(d.folder)}
	}
	known, err := d.o.Index.Open(ctx, d.box.Key, importedAs, renderingName(d.o.Rendering), d.store.Description.Reading.Renderer)
	if err != nil {
		// Without the index, unique-ids could be told that differ from those of earlier sessions
		// (RFC 1939 §7, I7).
		return backends.Fail(backends.Temporary, "%w", err)
	}
	d.known = known
	return nil
}

// renderingName tells forms of rendering apart in the index.
func renderingName(r backends.Rendering) string {
	if r == (backends.Rendering{}) {
		return ""
	}
	return fmt.Sprintf("%d %d %s %t", r.Encoding, r.Body, r.Charset, r.RichText)
}

// recognise looks for the messages whose unique-ids were imported. It has to be complete before any
// unique-id is told, because RFC 1939 §7 does not allow one to change. If the time of a login is not
// enough, the login fails, and the next one continues.
func (d *drop) recognise(ctx context.Context, s *scan) error {
	if !d.known.Waiting() {
		return nil
	}
	var unknown []string
	var sizes []int64
	for i := range s.entries {
		if id := s.at(s.entries[i].id); !d.known.Known(id) {
			unknown, sizes = append(unknown, id), append(sizes, s.sizes[i])
		}
	}
	for some := range slices.Chunk(unknown, recognisedAtOnce) {
		candidates, err := d.fingerprints(ctx, some, sizes)
		sizes = sizes[len(some):]
		if err == nil {
			err = d.known.Recognise(ctx, candidates)
		}
		if err != nil {
			return fmt.Errorf("recognising messages whose unique-ids were imported: %w", err)
		}
		d.log.Info().Int("messages", len(some)).Msg("looked at messages for unique-ids that were imported")
	}
	return nil
}

// fingerprints reads the headers of some messages, as many at once as the store allows. The error is
// the first one.
func (d *drop) fingerprints(ctx context.Context, ids []string, sizes []int64) ([]index.Candidate, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	candidates := make([]index.Candidate, len(ids))
	turns := make(chan struct{}, max(1, d.fetchesAtOnce()))
	var reading sync.WaitGroup
	for n, id := range ids {
		turns <- struct{}{}
		reading.Go(func() {
			defer func() { <-turns }()
			if ctx.Err() != nil {
				return
			}
			candidates[n] = index.Candidate{ID: id, Size: sizes[n]}
			var err error
			if candidates[n].Fingerprint, err = d.fingerprint(ctx, backends.MessageID(id)); err != nil {
				cancel(err)
			}
		})
	}
	reading.Wait()
	return candidates, context.Cause(ctx)
}

// fingerprint reads a header. A message that is gone or cannot be rendered has an empty fingerprint,
// which matches no other.
func (d *drop) fingerprint(ctx context.Context, id backends.MessageID) (index.Fingerprint, error) {
	c, err := d.inner.Fetch(ctx, backends.FetchRequest{ID: id, Top: true, Rendering: d.o.Rendering})
	switch backends.KindOf(err) {
	case backends.NotFound, backends.Poison:
		return index.Fingerprint{}, nil
	}
	if err != nil {
		return index.Fingerprint{}, err
	}
	defer c.Close()
	return index.FingerprintOf(c)
}
