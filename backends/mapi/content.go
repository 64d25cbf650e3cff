package mapi

import (
	"bytes"
	"io"
)

// Content is a stream of known length that can be opened again and again, by several readers at once.
// The zero Content is none.
type Content struct {
	Size int64 // octets
	Open func() (io.ReadCloser, error)
}

// IsZero says whether there is no content: not even one that is empty.
func (c Content) IsZero() bool { return c.Open == nil }

// ContentOf returns octets in memory as a content.
func ContentOf(octets []byte) Content {
	return Content{int64(len(octets)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(octets)), nil }}
}

// Section returns a part of something larger, such as a file, as a content. The file stays the caller's.
func Section(r io.ReaderAt, offset, size int64) Content {
	return Content{size, func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(r, offset, size)), nil }}
}

// Keep takes a large value to where it is kept until the message is done with, such as a file: it reads all
// of r and returns it as a content. Whoever decodes a stream is given one.
type Keep func(r io.Reader) (Content, error)

// KeepInMemory is the Keep for tests and for what is small anyhow.
func KeepInMemory(r io.Reader) (Content, error) {
	octets, err := io.ReadAll(r)
	if err != nil {
		return Content{}, err
	}
	return ContentOf(octets), nil
}
