package tnef

import (
	"fmt"
	"io"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Stream is what was in a TNEF stream.
type Stream struct {
	Message *mapi.Message
	// CodePage is that of the strings that are not Unicode.
	CodePage int
	// Problems are the first of what was not as it should be: also where nothing was lost.
	Problems []*Problem
	// MoreProblems counts the others.
	MoreProblems int
}

// Decode reads the stream that r has in its first size octets, which must stay as they are for as long as the
// message is in use: the data of attachments and other large values are sections of it.
//
// If something of the message could not be had, because the file is cut off or wrong, the error is the first
// [Problem] of that kind, and the stream has the rest. What does not begin as TNEF is [ErrNotTNEF], and there is no
// stream; neither is there one if reading fails.
func Decode(r io.ReaderAt, size int64) (*Stream, error) { return decode(r, size, memoryMost) }

func decode(r io.ReaderAt, size, memory int64) (*Stream, error) {
	d := &decoder{c: &cursor{r: r}, result: &Stream{}, memory: memory}
	all := section{d.c, size}
	o := &object{decoder: d, codePage: defaultCodePage, message: &mapi.Message{}}
	if !o.begins(all) {
		if d.c.err != nil {
			return nil, d.c.err
		}
		return nil, ErrNotTNEF
	}
	o.read(all)
	if d.c.err != nil {
		return nil, d.c.err
	}
	d.result.Message, d.result.CodePage = o.message, o.codePage
	if d.lost != nil {
		return d.result, d.lost
	}
	return d.result, nil
}

// decoder is what the messages of a file have in common.
type decoder struct {
	c         *cursor
	result    *Stream
	lost      *Problem // the first
	memory    int64    // an estimate of what may still be kept
	attribute Attribute
}

// object is a message: the file's, or one that is embedded in an attachment.
type object struct {
	*decoder
	message  *mapi.Message
	mapped   mapi.Properties // what attributes other than the encapsulated properties say
	people   map[mapi.AddressTags]mapi.Address
	codePage int
	depth    int
	// attachment is the one whose attributes are read.
	attachment *attachment
}

// attachment is one that is not complete yet.
type attachment struct {
	*mapi.Attachment
	mapped mapi.Properties
	// encapsulated says that the data came as a property.
	encapsulated bool
}

// report notes a problem, and whether it lost something. Errors of reading the file are told by the cursor.
func (d *decoder) report(at int64, err error, lost bool) {
	if err == nil || d.c.err != nil {
		return
	}
	p := &Problem{Offset: at, Attribute: d.attribute, Err: err, Lost: lost}
	if lost && d.lost == nil {
		d.lost = p
	}
	if len(d.result.Problems) == problemsMost {
		d.result.MoreProblems++
		return
	}
	d.result.Problems = append(d.result.Problems, p)
}

// begins takes the signature and the key, MS-OXTNEF §2.1.3.
func (o *object) begins(s section) bool {
	magic, err := s.uint32()
	if err != nil || magic != signature {
		return false
	}
	if _, err := s.uint16(); err != nil {
		o.report(s.at, err, true)
	}
	return true
}

// read takes the attributes up to the end of the section, MS-OXTNEF §2.1.3.
func (o *object) read(s section) {
	outer := o.decoder.attribute
	for s.left() > 0 && s.err == nil {
		o.decoder.attribute = 0
		if !o.next(s) {
			break
		}
	}
	o.decoder.attribute = outer
	o.endAttachment()
	fill(&o.message.Properties, &o.mapped)
	o.fillPeople()
}

// headerSize is that of level, number and length.
const headerSize = 1 + 4 + 4

// next takes an attribute. It returns false if there is no other one.
func (o *object) next(s section) bool {
	at := s.at
	if first := s.peek(1); len(first) == 1 && (first[0] == 0 || first[0] > byte(levelAttachment)) || s.left() < headerSize {
		o.trailing(s)
		return false
	}
	where, _ := s.uint8()
	number, _ := s.uint32()
	length, err := s.uint32()
	if err != nil {
		return false
	}
	o.decoder.attribute = Attribute(number)
	if a, ok := known[uint16(number)]; ok {
		o.decoder.attribute = a
		if level(where) != levelOf(a) {
			o.report(at, fmt.Errorf("an attribute of level %d: %w", where, ErrOrder), false)
		}
	}
	o.data(s, level(where), length)
	return s.err == nil
}

// trailing takes what is no attribute up to the end. If it is blank nothing is lost.
func (o *object) trailing(s section) {
	at := s.at
	n := s.left()
	empty, err := s.blank()
	if err != nil {
		return
	}
	o.report(at, fmt.Errorf("%d octets: %w", n, ErrGarbage), !empty)
}

// data takes the data of an attribute and the checksum.
func (o *object) data(s section, where level, length uint32) {
	at, before := s.at, s.sum
	data, lacks := s.sub(length)
	if err := o.take(data, where); err != nil {
		o.report(s.at, err, true)
	}
	if data.skip() != nil {
		return
	}
	if lacks > 0 {
		o.report(s.at, fmt.Errorf("%d of %d octets are missing: %w", lacks, length, io.ErrUnexpectedEOF), true)
		return
	}
	sum := s.sum - before
	told, err := s.uint16()
	switch {
	case o.decoder.attribute == attMessageClass || o.decoder.attribute == attOriginalMessageClass:
		// Old writers had them wrong, MS-OXTNEF §2.3.3.4.
	case err != nil:
		_ = s.skip()
		o.report(at, fmt.Errorf("there is none: %w", ErrChecksum), false)
	case told != sum:
		o.report(at, fmt.Errorf("0x%04x, and it is 0x%04x: %w", told, sum, ErrChecksum), false)
	}
}

// take has the data of an attribute read by whoever knows it.
func (o *object) take(data section, where level) error {
	a := o.decoder.attribute
	read := reader(a)
	if read == nil {
		if where == levelAttachment {
			o.ensureAttachment(data.at)
		}
		o.report(data.at, fmt.Errorf("%d octets: %w", data.left(), ErrUnknown), false)
		return nil
	}
	if a == attAttachRendData {
		o.endAttachment()
	}
	if levelOf(a) == levelAttachment {
		o.ensureAttachment(data.at)
		if o.attachment == nil {
			return nil // there is no memory left for one
		}
	}
	return read(o, data)
}

// ensureAttachment begins an attachment if none has begun. MS-OXTNEF §2.1.3 wants attAttachRendData first.
func (o *object) ensureAttachment(at int64) {
	if o.attachment != nil {
		return
	}
	if o.decoder.attribute != attAttachRendData {
		o.report(at, fmt.Errorf("an attachment without attAttachRendData: %w", ErrOrder), false)
	}
	if !o.keep(attachmentCost) {
		o.report(at, ErrTooMuch, true)
		return
	}
	o.attachment = &attachment{Attachment: &mapi.Attachment{}}
	o.message.Attachments = append(o.message.Attachments, o.attachment.Attachment)
}

// endAttachment completes the attachment that was read.
func (o *object) endAttachment() {
	a := o.attachment
	if a == nil {
		return
	}
	o.attachment = nil
	if a.Embedded != nil {
		a.mapped.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	}
	if a.Has(mapi.PidTagAttachLongFilename) || a.Embedded != nil && a.Has(mapi.PidTagDisplayName) {
		a.mapped.Delete(mapi.PidTagAttachFilename) // attAttachTitle was made of that
	}
	fill(&a.Properties, &a.mapped)
	if method, _ := a.Integer(mapi.PidTagAttachMethod); a.Embedded == nil && a.Data.IsZero() && method == int64(mapi.AttachByValue) {
		a.Data = mapi.ContentOf(nil) // an empty file
	}
}

// fill sets what the encapsulated properties lack, MS-OXTNEF §2.1.3: they count where both are there.
func fill(to, mapped *mapi.Properties) {
	for p := range mapped.All() {
		if _, ok := to.Find(p.Key()); !ok {
			to.Put(p)
		}
	}
}

// Estimates of the memory that things take beside the octets in them.
const (
	memoryMost     = 64 << 20
	propertyCost   = 256
	valueCost      = 32
	recipientCost  = 128
	attachmentCost = 512
	messageCost    = 512
)

// keep says whether there is memory left for something, and counts it.
func (d *decoder) keep(octets int64) bool {
	if octets > d.memory {
		return false
	}
	d.memory -= octets
	return true
}

// embedded reads a message in an attachment. It returns nil if the section is none.
func (o *object) embedded(s section) (*mapi.Message, error) {
	if o.depth+1 > mapi.DepthMost {
		return nil, mapi.ErrDepth
	}
	if !o.keep(messageCost) {
		return nil, ErrTooMuch
	}
	inner := &object{decoder: o.decoder, message: &mapi.Message{}, codePage: o.codePage, depth: o.depth + 1}
	if !inner.begins(s) {
		return nil, fmt.Errorf("an embedded message: %w", ErrNotTNEF)
	}
	inner.read(s)
	return inner.message, nil
}
