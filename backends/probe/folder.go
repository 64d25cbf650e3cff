package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// What can be wrong with a folder of files that mail is picked up from.
var (
	FolderMissing   = Cause{"folder-missing", "The folder is not there: make it, mount the share that it is on, or correct its path in the settings."}
	FolderNoFolder  = Cause{"folder-no-folder", "It is a link or a file, and has to be a folder: a link would have others' files sent."}
	FolderRights    = Cause{"folder-rights", "The gateway's user has to be allowed to read, make, rename and delete files there: give it the folder, or a group with these rights."}
	FolderMounts    = Cause{"folder-on-two-file-systems", "Its parts are on different file systems, where nothing can be renamed from the one into the other: keep them on one."}
	FolderOpen      = Cause{"folder-open-to-all", "Every user of this machine can write into the folder, and whoever can sends from it: take the right away (chmod o-w)."}
	FilesUnreadable = Cause{"files-unreadable", "There are files that the gateway's user cannot read, or that are links or other things: they stay there. Give it the right, or take them away."}
	FilesSetAside   = Cause{"files-set-aside", "There are files that nobody could follow: correct what the log says of them and give them their first name again, or delete them."}
	FilesStale      = Cause{"files-stale", "There are files that were taken long ago and are not finished: see that the gateway runs, what its log says of them, and the clocks of this machine and of others that take from here."}
	FilesWaiting    = Cause{"files-not-collected", "There are files that nobody has taken for long: see that the gateway runs, and what its log says."}
)

// staleAfter is for how long the lease of a file may be over, or a file may lie there, before it is told.
const staleAfter = time.Hour

// Picked counts the files of a folder that mail is picked up from, or of several.
type Picked struct {
	// Waiting are to be taken, and Taken are.
	Waiting, Taken                      int
	unreadable, setAside, stale, unseen int
	example                             map[Cause]string
}

// Bad notes a file that cannot be used as it is.
func (p *Picked) Bad(cause Cause, path string, why error) {
	count := map[Cause]*int{FilesUnreadable: &p.unreadable, FilesSetAside: &p.setAside, FilesStale: &p.stale, FilesWaiting: &p.unseen}[cause]
	*count++
	if p.example == nil {
		p.example = make(map[Cause]string)
	}
	if p.example[cause] == "" {
		p.example[cause] = path
		if why != nil {
			p.example[cause] += fmt.Sprintf(" (%v)", why)
		}
	}
}

// Fresh notes a file that waits, since a time.
func (p *Picked) Fresh(path string, since, now time.Time) {
	p.Waiting++
	if now.Sub(since) > staleAfter {
		p.Bad(FilesWaiting, path, nil)
	}
}

// Claimed notes a file that was taken until a time. most is the longest that a lease can be.
func (p *Picked) Claimed(path string, until, now time.Time, most time.Duration) {
	p.Taken++
	if !until.Equal(time.UnixMilli(0)) && now.Sub(until) > staleAfter || until.After(now.Add(most)) {
		p.Bad(FilesStale, path, fmt.Errorf("taken until %s", until.UTC().Format(time.DateTime)))
	}
}

// Readable tries to open a file, and notes one that is none or cannot be.
func (p *Picked) Readable(open func() error, path string) {
	if err := open(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Bad(FilesUnreadable, path, err)
	}
}

// Found is what a step says of the files.
func (p *Picked) Found() Found {
	found := Found{Detail: fmt.Sprintf("%d files wait, and %d were taken", p.Waiting, p.Taken)}
	for _, one := range []struct {
		cause Cause
		n     int
		are   string
	}{
		{FilesUnreadable, p.unreadable, "cannot be read"},
		{FilesSetAside, p.setAside, "were set aside"},
		{FilesStale, p.stale, "were taken long ago"},
		{FilesWaiting, p.unseen, "have waited for more than an hour"},
	} {
		if one.n == 0 {
			continue
		}
		found.Detail += fmt.Sprintf("; %d %s, such as %s", one.n, one.are, p.example[one.cause])
		if found.Warning == (Cause{}) {
			found.Warning = one.cause
		}
	}
	return found
}

// Folder looks whether a folder is there and can be worked in: that files can be made in it, and be renamed from its part from into to
// (empty: itself). What is made for that begins with a point and is removed again.
func Folder(path, from, to string) (Found, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Found{}, Because(FolderMissing, backends.Fail(backends.Temporary, "look at the folder: %w", err))
	case err != nil:
		return Found{}, Because(FolderRights, backends.Fail(backends.Temporary, "look at the folder: %w", err))
	}
	for _, part := range []string{path, filepath.Join(path, from), filepath.Join(path, to)} {
		if info, err := os.Lstat(part); err == nil && !info.IsDir() {
			return Found{}, Because(FolderNoFolder, backends.Fail(backends.Temporary, "%s is not a folder: it is of mode %s", part, info.Mode()))
		}
	}
	if err := canRename(filepath.Join(path, from), filepath.Join(path, to)); err != nil {
		return Found{}, err
	}
	found := Found{Detail: fmt.Sprintf("%s can be worked in; its mode is %s%s", path, info.Mode().Perm(), ownerOf(info))}
	for _, part := range []string{path, filepath.Join(path, from)} { // where others put files
		if info, err := os.Lstat(part); err == nil && writtenByAll(info) {
			found.Warning = FolderOpen
			found.Detail += "; all may write into " + part
		}
	}
	return found, nil
}

// canRename makes a file, renames it and removes it.
func canRename(from, to string) (err error) {
	if _, err := os.ReadDir(from); err != nil {
		return Because(FolderRights, backends.Fail(backends.Temporary, "read the folder: %w", err))
	}
	f, err := os.CreateTemp(from, ".dipylon-doctor-*")
	if err != nil {
		return Because(FolderRights, backends.Fail(backends.Temporary, "make a file: %w", err))
	}
	name := f.Name()
	target := filepath.Join(to, filepath.Base(name)+"-renamed")
	defer func() {
		if e := os.Remove(name); e != nil && !errors.Is(e, fs.ErrNotExist) && err == nil {
			err = Because(FolderRights, backends.Fail(backends.Temporary, "delete a file: %w", e))
		}
	}()
	if err := f.Close(); err != nil {
		return Because(FolderRights, backends.Fail(backends.Temporary, "make a file: %w", err))
	}
	if err := os.Rename(name, target); err != nil {
		cause := FolderRights
		if otherFileSystem(err) {
			cause = FolderMounts
		}
		return Because(cause, backends.Fail(backends.Temporary, "rename a file: %w", err))
	}
	if err := os.Remove(target); err != nil {
		return Because(FolderRights, backends.Fail(backends.Temporary, "delete a file: %w", err))
	}
	return nil
}
