package storetest

import (
	"bytes"
	"slices"

	"github.com/dipylon/dipylon/backends"
)

// readingCases compare what is described of a reader with what it does, but for disposals and marks,
// which have their places.
var readingCases = []testcase{
	{"folders-described", []need{reader}, func(t *trial) {
		names := []string{"Trash", "Sent", "Drafts", "Archive"}
		if t.Folder != "" {
			names = []string{t.Folder}
		} else if t.description.Reading.Folders {
			t.Skipf("the target names no other folder")
		}
		for _, name := range names {
			d, err := t.openFolder(name)
			switch {
			case err == nil && !t.description.Reading.Folders:
				t.Errorf("the description has no other folders, and %q was opened", name)
			case err != nil && t.description.Reading.Folders:
				t.Errorf("the description has other folders, and %q was not opened: %w", name, err)
			case err != nil:
				t.wantKind("opening a folder of a store that has none", err, backends.NotFound, backends.Unsupported)
			}
			if err == nil {
				d.close()
			}
		}
	}},
	{"encodings-described", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(1)...)
		for _, e := range []backends.Encoding{backends.EncodingUUENCODE} {
			d.renders(entries[0].ID, backends.Rendering{Encoding: e}, slices.Contains(t.description.Reading.Encodings, e))
		}
	}},
	{"bodies-described", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(1)...)
		for _, b := range []backends.BodyForm{backends.BodyText, backends.BodyHTML, backends.BodyTextAndHTML, backends.BodyTextEnriched} {
			d.renders(entries[0].ID, backends.Rendering{Body: b}, slices.Contains(t.description.Reading.Bodies, b))
		}
	}},
}

// renders makes sure that a form that is described can be had, and is the same each time, and that one
// that is not is refused, or passed over by a store that has its messages in one form.
func (d drop) renders(id backends.MessageID, form backends.Rendering, described bool) {
	request := backends.FetchRequest{ID: id, Rendering: form}
	got, err := d.read(request)
	switch {
	case described && err != nil:
		d.t.Errorf("the form %+v is described, and cannot be had: %w", form, err)
	case described:
		if flaw := notCanonical(got); flaw != "" {
			d.t.Errorf("in the form %+v: %s", form, flaw)
		}
		if again, err := d.read(request); err != nil || !bytes.Equal(got, again) {
			d.t.Errorf("the form %+v gives something else the second time (%v): %s", form, err, difference(got, again))
		}
	case err != nil:
		d.t.wantKind("a form that is not described", err, backends.Unsupported)
	default:
		if usual := d.fetch(id); !bytes.Equal(got, usual) {
			d.t.Errorf("the form %+v is not described, and differs from the usual one: %s", form, difference(usual, got))
		}
	}
}
