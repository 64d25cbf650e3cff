package mime

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// played is what has become of a part that is not opened.
type played struct {
	role       role
	attachment *mapi.Attachment
}

// plays notes what a part is in the object.
func (c *conversion) plays(e *entity.Entity, as role, a *mapi.Attachment) {
	if !c.Skeleton {
		return
	}
	if c.played == nil {
		c.played = map[*entity.Entity]played{}
	}
	c.played[e] = played{as, a}
}

// skeleton sets the skeleton, MS-OXCMAIL §2.4.3.1: not for a message whose TNEF was opened, and not where it would be too
// large.
func (c *conversion) skeleton(e *entity.Entity) error {
	if !c.Skeleton || c.opened {
		return nil
	}
	if c.plain != nil && c.m.Text(mapi.PidTagMessageClass) != classSigned {
		c.plays(c.plain, rolePlain, nil)
	}
	if c.html != nil && c.m.Text(mapi.PidTagMessageClass) != classSigned {
		c.plays(c.html, roleHTML, nil)
	}
	source, start, size := e.Whole().Outer()
	s := &skeletonMaker{conversion: c, source: source, at: start}
	if err := s.entity(e, true); err != nil {
		if errors.Is(err, errSkeleton) {
			return nil
		}
		return err
	}
	s.copyTo(start + size)
	if s.size > skeletonMost {
		return nil
	}
	value, err := bytesValue(mapi.Content{Size: s.size, Open: s.open})
	if err == nil {
		c.m.Set(mapi.PidTagMimeSkeleton, value)
	}
	return err
}

// skeletonMaker goes through a message, and takes what the object does not have.
type skeletonMaker struct {
	*conversion
	source io.ReaderAt
	at     int64 // what is before it was taken or left out
	pieces []*io.SectionReader
	size   int64
}

func (s *skeletonMaker) copyTo(offset int64) {
	if offset > s.at {
		s.add(io.NewSectionReader(s.source, s.at, offset-s.at))
		s.at = offset
	}
}

func (s *skeletonMaker) add(piece *io.SectionReader) {
	s.pieces = append(s.pieces, piece)
	s.size += piece.Size()
}

func (s *skeletonMaker) text(text string) {
	s.add(io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))))
}

// open opens the skeleton. There can be several readers at once.
func (s *skeletonMaker) open() (io.ReadCloser, error) {
	readers := make([]io.Reader, 0, len(s.pieces))
	for _, p := range s.pieces {
		readers = append(readers, io.NewSectionReader(p, 0, p.Size()))
	}
	return io.NopCloser(io.MultiReader(readers...)), nil
}

// entity takes an entity with the fields that say what is to fill it.
func (s *skeletonMaker) entity(e *entity.Entity, isRoot bool) error {
	for _, f := range e.Header.Fields {
		if f.Is(skeletonID) || f.Is(skeletonPart) {
			return errSkeleton // whoever has written it is not believed
		}
	}
	f, err := s.fill(e)
	if err != nil {
		return err
	}
	if isRoot {
		f.envelope = envelopeSum(s.m)
	}
	_, start, _ := e.Whole().Outer()
	s.copyTo(start)
	if f.role != roleNone || isRoot {
		s.text(s.id(e, f) + f.field())
	}
	for _, part := range e.Parts {
		if f.role == roleNone {
			if err := s.entity(part, false); err != nil {
				return err
			}
		}
	}
	if f.role != roleNone && !f.kept {
		_, body, size := e.Raw().Outer()
		s.copyTo(body)
		s.at = body + size
	}
	return nil
}

// id returns the field that says which attachment or body fills a part that has no Content-ID. The attachment or the
// body gets it, too.
func (s *skeletonMaker) id(e *entity.Entity, f filling) string {
	a := s.played[e].attachment
	properties, tag := &s.m.Properties, mapi.PidTagBodyContentId
	if a != nil {
		properties, tag = &a.Properties, mapi.PidTagAttachContentId
	}
	if f.role == roleNone || f.role == roleCalendar || f.role == roleReport || contentID(e) != "" {
		return ""
	}
	id := properties.Text(tag)
	if id == "" {
		_, start, _ := e.Whole().Outer()
		id = fmt.Sprintf("%x%s", start, skeletonIDEnd)
		properties.Set(tag, mapi.String(id))
	}
	return skeletonID + ": <" + id + ">\r\n"
}

// skeletonIDEnd is what ids end with that are no Content-ID of the message.
const skeletonIDEnd = "@skeleton.invalid"

// fill finds out how an entity is filled.
func (s *skeletonMaker) fill(e *entity.Entity) (f filling, err error) {
	is, known := s.played[e]
	switch {
	case !known && len(e.Parts) > 0:
		return filling{role: roleNone}, nil
	case !known:
		return f, errSkeleton
	}
	f = filling{role: is.role, encoding: e.Encoding, kept: true}
	if is.attachment != nil {
		n, _ := is.attachment.Integer(mapi.PidTagAttachNumber)
		f.number = int(n)
	}
	whole := e.Whole().Size() == e.Header.Size()+e.Raw().Size() && len(e.Header.End) > 0
	switch is.role {
	case roleCalendar, roleReport:
		f.says, err = saidByObject(s.m, is.role)
		return f, err
	case roleEnriched:
		return f, nil
	case roleMessage:
		f.kept = false
		return f, nil
	case roleSigned:
		f.kept = !whole
		return f, nil
	case rolePlain:
		page, err := e.TextPage()
		if err != nil {
			return f, err
		}
		f.page = page.Number
	}
	if !whole {
		return f, nil
	}
	return s.canonical(e, f)
}

// canonical finds out whether a content comes out as it came in.
func (s *skeletonMaker) canonical(e *entity.Entity, f filling) (filling, error) {
	switch f.encoding {
	case "":
	case "base64":
		var err error
		if f.width, f.ends, err = base64Lines(e.Raw()); err != nil {
			return f, err
		}
	default:
		return f, nil
	}
	content, err := f.ofObject(s.m, s.played[e].attachment)
	if err == nil {
		err = sameAs(e.Raw(), func(w io.Writer) error { return f.write(w, content) })
	}
	var reading error
	if err != nil {
		_, reading = io.Copy(io.Discard, e.Raw()) // what cannot be encoded is another error than what cannot be read
	}
	f.kept = err != nil
	return f, reading
}

// base64Lines returns how long the lines of base64 are, and how many line ends are behind them.
func base64Lines(r *io.SectionReader) (width, ends int, err error) {
	first := make([]byte, min(r.Size(), lineMost+1))
	if _, err := r.ReadAt(first, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	width = len(bytes.TrimRight(first, "\r\n"))
	if end := bytes.IndexByte(first, '\r'); end >= 0 {
		width = end
	}
	last := make([]byte, min(r.Size(), 2*endsMost))
	if _, err := r.ReadAt(last, r.Size()-int64(len(last))); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	for bytes.HasSuffix(last, []byte("\r\n")) {
		last, ends = last[:len(last)-2], ends+1
	}
	return max(width, 4), ends, nil
}

// saidByObject returns what an object says where a calendar, a vCard or a report did: as long as it says the same, that stands.
func saidByObject(m *mapi.Message, as role) (string, error) {
	p := &planner{Writer: Writer{Bcc: true}, m: m, bare: true}
	h := sha256.New()
	if as == roleReport {
		fields, kind := p.reportFields(strings.ToLower(m.Text(mapi.PidTagMessageClass)))
		fmt.Fprintf(h, "%q%q", fields, kind)
		return hex.EncodeToString(h.Sum(nil)), p.err
	}
	said, err := p.calendar()
	if said == nil && err == nil {
		said, err = p.card()
	}
	if err != nil || said == nil {
		return "", errors.Join(errSkeleton, err)
	}
	return hex.EncodeToString(said.sum[:]), p.err
}

// envelopeSum is what the properties of an object say in header fields: not the names of people, which a store may know better,
// and not the conversation, which it may compute.
func envelopeSum(m *mapi.Message) string {
	p := &planner{Writer: Writer{Bcc: true}, m: m, bare: true}
	h := sha256.New()
	for _, f := range p.madeHeader() {
		if !strings.HasPrefix(f, "Thread-") {
			_, _ = io.WriteString(h, f) // a hash does not fail
		}
	}
	if p.err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// proved takes the skeletons away with which the message is not made again octet by octet.
func (r Reader) proved(m *mapi.Message, e *entity.Entity) error {
	if !m.Has(mapi.PidTagMimeSkeleton) {
		return nil
	}
	var head []io.Reader
	for _, f := range e.Header.Fields {
		if !IsReserved(strings.ToLower(f.Name)) {
			head = append(head, bytes.NewReader(f.Raw))
		}
	}
	source, start, size := e.Whole().Outer()
	for _, f := range e.Header.Fields {
		start, size = start+int64(len(f.Raw)), size-int64(len(f.Raw))
	}
	want := io.MultiReader(append(head, io.NewSectionReader(source, start, size))...)
	err := sameAs(want, func(w io.Writer) error { return Writer{Kept: true, Bcc: true}.Write(w, m) })
	if errors.Is(err, errDiffers) {
		withoutSkeletons(m)
		return nil
	}
	return err
}

// withoutSkeletons takes the skeletons of a message and those in it away.
func withoutSkeletons(m *mapi.Message) {
	m.Delete(mapi.PidTagMimeSkeleton)
	for _, a := range m.Attachments {
		if a.Embedded != nil {
			withoutSkeletons(a.Embedded)
		}
	}
}
