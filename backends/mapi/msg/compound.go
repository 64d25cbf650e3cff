package msg

import (
	"fmt"
	"io"
	"strings"

	"github.com/richardlehane/mscfb"

	"github.com/dipylon/dipylon/backends/mapi"
)

// storage is a storage of a compound file. Names are in lower case: they are compared without regard to it (MS-CFB §2.6.4).
type storage struct {
	parent   *storage
	name     string
	streams  map[string]*mscfb.File
	storages map[string]*storage
}

// openCompound reads the directory of a compound file, and returns its root.
func openCompound(r io.ReaderAt, size int64) (*storage, error) {
	if err := checkDirectory(r, size); err != nil {
		return nil, err
	}
	file, err := mscfb.New(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	root := &storage{}
	parents := map[*string]*storage{} // siblings share their path
	sum := int64(0)
	for _, f := range file.File[1:] {
		in := root
		if len(f.Path) > 0 {
			first := &f.Path[0]
			if _, known := parents[first]; !known {
				parents[first] = root.find(f.Path)
			}
			in = parents[first]
		}
		if in == nil {
			continue // it is in what is no storage
		}
		if !f.FileInfo().IsDir() {
			// No sector is in two streams, so that all together are in the file. A chain of sectors that is a
			// loop, or is shared, can be read no further than that.
			if sum += f.Size; f.Size > size || sum > size {
				return nil, fmt.Errorf("streams that are larger than the file: %w", ErrMalformed)
			}
			in.add(f)
			continue
		}
		in.sub(f.Name)
	}
	return root, nil
}

// find returns the storage of a path, and nil if there is none. A storage comes before what is in it.
func (s *storage) find(path []string) *storage {
	for _, name := range path {
		if s = s.storages[strings.ToLower(name)]; s == nil {
			return nil
		}
	}
	return s
}

func (s *storage) add(f *mscfb.File) {
	if s.streams == nil {
		s.streams = map[string]*mscfb.File{}
	}
	s.streams[strings.ToLower(f.Name)] = f
}

// sub makes a storage in this one.
func (s *storage) sub(name string) {
	key := strings.ToLower(name)
	if s.storages == nil {
		s.storages = map[string]*storage{}
	}
	if s.storages[key] == nil {
		s.storages[key] = &storage{parent: s, name: name}
	}
}

// where returns the path of something in the storage.
func (s *storage) where(name string) string {
	if s.parent == nil {
		return name
	}
	return s.parent.where(s.name) + "/" + name
}

// path returns the path of the storage.
func (s *storage) path() string { return s.parent.where(s.name) }

// content returns a stream, and none if it is not there.
func (s *storage) content(name string) mapi.Content {
	f := s.streams[strings.ToLower(name)]
	if f == nil {
		return mapi.Content{}
	}
	return mapi.Content{Size: f.Size, Open: func() (io.ReadCloser, error) { return &streamReader{f: *f}, nil }}
}

// chunk is how much is read at once: mscfb takes time that is quadratic in the sectors of one reading.
const chunk = 32 << 10

// streamReader reads a stream from its beginning, whoever else reads it: it has the file's entry for itself.
type streamReader struct{ f mscfb.File }

// Read reads from the stream.
func (r *streamReader) Read(p []byte) (int, error) { return r.f.Read(p[:min(len(p), chunk)]) }

// Close does nothing: the file is the caller's.
func (*streamReader) Close() error { return nil }
