package maildrop

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/gateway/content"
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
	known, err := d.o.Index.Open(ctx, d.box.Key, importedAs, d.formName(), d.store.Description.Reading.Renderer)
	if err != nil {
		// Without the index, unique-ids could be told that differ from those of earlier sessions
		// (RFC 1939 §7, I7).
		return backends.Fail(backends.Temporary, "%w", err)
	}
	d.known = known
	return nil
}

// formName tells forms of messages apart in the index: those that the store renders, and those whose TNEF is opened here.
func (d *drop) formName() string {
	name := renderingName(d.rendering)
	if d.opens {
		name = strings.TrimSpace(fmt.Sprintf("%s winmail %d", name, content.WinmailRecipe))
	}
	return name
}

// renderingName tells forms of rendering apart in the index.
func renderingName(r backends.Rendering) string {
	if r == (backends.Rendering{}) {
		return ""
	}
	name := fmt.Sprintf("%d %d %s %t", r.Encoding, r.Body, r.Charset, r.RichText)
	if r.Wrap != 0 || r.Calendar != backends.CalendarICal { // forms that were named before keep their names
		name += fmt.Sprintf(" %d %d %s", r.Wrap, r.Calendar, r.CalendarLink)
	}
	return name
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
		d.log(zerolog.InfoLevel).Int("messages", len(some)).Msg("looked at messages for unique-ids that were imported")
	}
	return nil
}

// fingerprints reads the headers of some messages: all with one request where the store measures, or
// else each by itself.
func (d *drop) fingerprints(ctx context.Context, ids []string, sizes []int64) ([]index.Candidate, error) {
	many := d.measures()
	if many == nil {
		return d.fetchedFingerprints(ctx, ids, sizes)
	}
	request := backends.MeasureRequest{Top: true, Rendering: d.rendering}
	for _, id := range ids {
		request.IDs = append(request.IDs, backends.MessageID(id))
	}
	candidates := make([]index.Candidate, 0, len(ids))
	for measured, err := range many.Measure(ctx, request) {
		n := len(candidates)
		if err == nil && (n == len(ids) || measured.ID != request.IDs[n]) {
			err = backends.Fail(backends.Temporary, "the store has measured another message than asked")
		}
		var of index.Fingerprint
		if err == nil {
			of, err = d.measuredFingerprint(ctx, measured)
		}
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, index.Candidate{ID: ids[n], Size: sizes[n], Fingerprint: of})
	}
	if len(candidates) < len(ids) {
		return nil, backends.Fail(backends.Temporary, "the store has measured %d of %d messages", len(candidates), len(ids))
	}
	return candidates, nil
}

// measuredFingerprint is that of a header, which is fetched if it is longer than Measure gives.
func (d *drop) measuredFingerprint(ctx context.Context, m backends.Measured) (index.Fingerprint, error) {
	switch {
	case m.Failure != nil:
		return index.Fingerprint{}, unlessAlone(m.Failure)
	case m.Top == nil:
		return d.fingerprint(ctx, m.ID)
	}
	return index.FingerprintOf(bytes.NewReader(m.Top))
}

// unlessAlone is nil for a failure that is a message's own: it is gone, or cannot be rendered. Such a
// message has an empty fingerprint, which matches no other.
func unlessAlone(err error) error {
	switch backends.KindOf(err) {
	case backends.NotFound, backends.Poison:
		return nil
	}
	return err
}

// fetchedFingerprints reads headers, as many at once as the store allows. The error is the first one.
func (d *drop) fetchedFingerprints(ctx context.Context, ids []string, sizes []int64) ([]index.Candidate, error) {
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

// fingerprint reads a header.
func (d *drop) fingerprint(ctx context.Context, id backends.MessageID) (index.Fingerprint, error) {
	c, err := d.inner.Fetch(ctx, backends.FetchRequest{ID: id, Top: true, Rendering: d.rendering})
	if err != nil {
		return index.Fingerprint{}, unlessAlone(err)
	}
	defer c.Close()
	return index.FingerprintOf(c)
}
