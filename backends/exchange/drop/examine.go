package drop

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dipylon/dipylon/backends/probe"
)

// openedMost bounds the files that an examination opens.
const openedMost = 200

// Examine looks at the folder for "dipylon doctor": whether it can be worked in, and what lies in it.
func (f *Folder) Examine(w *probe.Way) {
	if !w.Step("Drop folder", func(context.Context) (probe.Found, error) { return probe.Folder(f.path, "", "") }) {
		return
	}
	w.Step("files in the Drop folder", func(context.Context) (probe.Found, error) {
		root, err := f.open()
		if err != nil {
			return probe.Found{}, err
		}
		defer root.Close() //nolint:errcheck // it was read alone
		return f.examineFiles(root)
	})
}

// examineFiles counts what lies in the folder.
func (f *Folder) examineFiles(root *os.Root) (probe.Found, error) {
	var p probe.Picked
	now, opened := f.now(), 0
	_, err := names(root, namesMost, func(e fs.DirEntry) {
		name := e.Name()
		path := filepath.Join(f.path, name)
		_, until, isClaim := claimOf(name)
		info, err := e.Info()
		switch {
		case err != nil: // it is gone
			return
		case isClaim:
			p.Claimed(path, until, now, leaseMost)
		case isFresh(name):
			p.Fresh(path, info.ModTime(), now)
		case strings.HasSuffix(name, bad):
			p.Bad(probe.FilesSetAside, path, nil)
			return
		default:
			return
		}
		if opened++; opened <= openedMost {
			p.Readable(func() error {
				file, _, err := openFile(root, name)
				if err == nil {
					_ = file.Close() // it was not read
				}
				return err
			}, path)
		}
	})
	return p.Found(), err
}
