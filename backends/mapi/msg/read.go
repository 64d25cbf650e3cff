package msg

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mapi"
)

// File is what was in a .msg file.
type File struct {
	Message *mapi.Message
	// CodePage is that of the strings that are not Unicode.
	CodePage int
	// Problems are the first of what was not as it should be: also where nothing was lost.
	Problems []*Problem
	// MoreProblems counts the others.
	MoreProblems int
}

// Read reads the message in the first size octets of r.
//
// If something of the message could not be had, the error is the first [Problem] of that kind, and the file has the rest.
// What is no message, and what is so damaged that there is no way to its properties, has an error and no file.
func Read(r io.ReaderAt, size int64) (*File, error) { return read(r, size, memoryMost) }

func read(r io.ReaderAt, size, memory int64) (*File, error) {
	root, err := openCompound(r, size)
	if err != nil {
		return nil, fmt.Errorf("reading .msg: %w", err)
	}
	if root.content(propertyStream).IsZero() {
		return nil, ErrNotMSG
	}
	f := &reader{file: &File{}, memory: memory, named: map[mapi.ID]mapi.Named{}}
	f.names(root)
	f.file.Message, f.file.CodePage = f.message(root, topHeader, codepage.WesternEuro, 0)
	if f.lost != nil {
		return f.file, f.lost
	}
	return f.file, nil
}

// reader is what the messages of a file have in common.
type reader struct {
	file   *File
	lost   *Problem // the first
	memory int64    // an estimate of what may still be kept
	named  map[mapi.ID]mapi.Named
}

// report notes a problem, and whether it lost something.
func (f *reader) report(where string, err error, lost bool) {
	p := &Problem{Where: where, Err: err, Lost: lost}
	if lost && f.lost == nil {
		f.lost = p
	}
	if len(f.file.Problems) == problemsMost {
		f.file.MoreProblems++
		return
	}
	f.file.Problems = append(f.file.Problems, p)
}

// Estimates of the memory that things take beside the octets in them.
const (
	memoryMost   = 64 << 20
	propertyCost = 256
	valueCost    = 32
	objectCost   = 512
	inMemory     = 64 << 10 // octets of a value that is kept
)

// keep says whether there is memory left for something, and counts it.
func (f *reader) keep(octets int64) bool {
	if octets > f.memory {
		return false
	}
	f.memory -= octets
	return true
}

// octets reads a stream that is kept.
func (f *reader) octets(c mapi.Content) ([]byte, error) {
	if !f.keep(c.Size) {
		return nil, ErrTooMuch
	}
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	octets := make([]byte, c.Size)
	n, err := io.ReadFull(r, octets)
	if err != nil {
		err = fmt.Errorf("%d of %d octets could be read: %w", n, c.Size, err)
	}
	return octets, errors.Join(err, r.Close())
}

// Names of storages, with a number of 8 digits behind them: MS-OXMSG §2.2.1 and §2.2.2.
const (
	recipientStorage  = "__recip_version1.0_#"
	attachmentStorage = "__attach_version1.0_#"
)

// numbered returns the storages of a kind in the order of their numbers.
func (s *storage) numbered(kind string) []*storage {
	var all []*storage
	for _, name := range slices.Sorted(maps.Keys(s.storages)) {
		if strings.HasPrefix(name, kind) {
			all = append(all, s.storages[name])
		}
	}
	return all
}

// message reads a message, and returns the code page of its strings. MS-OXMSG §2.2 and §2.4.
func (f *reader) message(s *storage, header, codePage, depth int) (*mapi.Message, int) {
	m := &mapi.Message{}
	bag := f.bag(s, header)
	codePage = bag.codePage(codePage)
	f.properties(bag, &m.Properties, codePage)
	for _, in := range s.numbered(recipientStorage) {
		if !f.keep(objectCost) {
			f.report(in.path(), ErrTooMuch, true)
			break
		}
		r := &mapi.Recipient{}
		f.properties(f.bag(in, objectHeader), &r.Properties, codePage)
		m.Recipients = append(m.Recipients, r)
	}
	for _, in := range s.numbered(attachmentStorage) {
		if !f.keep(objectCost) {
			f.report(in.path(), ErrTooMuch, true)
			break
		}
		m.Attachments = append(m.Attachments, f.attachment(in, codePage, depth))
	}
	return m, codePage
}

// The data of an attachment: a stream, or a storage for a message and for some OLE objects. MS-OXMSG §2.2.2.1 and §2.2.2.2.
const (
	dataStream   = "__substg1.0_37010102"
	objectStream = "__substg1.0_3701000d"
)

// attachment reads an attachment, MS-OXMSG §2.2.2.
func (f *reader) attachment(s *storage, codePage, depth int) *mapi.Attachment {
	a := &mapi.Attachment{}
	bag := f.bag(s, objectHeader)
	f.properties(bag.without(mapi.PidTagAttachDataBinary.ID()), &a.Properties, codePage)
	for _, name := range []string{dataStream, objectStream} {
		if a.Data.IsZero() {
			a.Data = s.content(name)
		}
	}
	object := s.storages[objectStream]
	number, told := a.Integer(mapi.PidTagAttachMethod)
	method := mapi.Integer32(number)
	switch {
	case object == nil && a.Data.IsZero() && (method == mapi.AttachByValue || method == mapi.AttachEmbedded || method == mapi.AttachOLE || !told):
		f.report(s.where(dataStream), ErrMissing, true)
	case object == nil:
	case object.content(propertyStream).IsZero():
		f.report(object.path(), ErrObject, true)
	case depth == mapi.DepthMost:
		f.report(object.path(), mapi.ErrDepth, true)
	default:
		a.Data = mapi.Content{}
		a.Embedded, _ = f.message(object, embeddedHeader, codePage, depth+1)
		a.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	}
	if a.Embedded == nil && !told && !a.Data.IsZero() {
		a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	}
	return a
}
