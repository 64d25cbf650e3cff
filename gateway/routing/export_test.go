package routing

import "io"

// TempFile is what SetCreateTemp's files have to be.
type TempFile interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// SetCreateTemp puts another file in the place of temporary ones.
func SetCreateTemp(o *Options, create func(dir string) (TempFile, error)) {
	o.createTemp = func(dir string) (tempFile, error) { return create(dir) }
}

// CreateTemp is the real thing.
func CreateTemp(dir string) (TempFile, error) { return createTemp(dir) }

// DetailsMost bounds the look-ups of a session.
const DetailsMost = detailsMost
