package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

// WinmailRecipe is the version of what [Winmail] makes of a message. Sizes that were measured under another one say
// nothing: it changes with the octets.
const WinmailRecipe = 4

// The bounds of what is opened. A message that exceeds them passes as it came.
const (
	winmailMost   = 16       // TNEF parts of a message; further ones stay
	winmailMemory = 64 << 10 // octets of a TNEF part that are kept in memory
	winmailGrowth = 16       // what a message may grow by: so many times its size, and winmailSpare
	winmailSpare  = 1 << 20
	winmailWhole  = 256 << 20 // octets of a message that is kept to be opened: Exchange takes less
)

// Winmail opens TNEF (MS-OXTNEF), which is how Exchange sends a message with all of its properties: as a part called
// winmail.dat. What is in it becomes parts of the message.
//
//	opened, err := w.Open(ctx, message, size)
//	if opened.Message != nil {
//		defer opened.Message.Discard()
//		… // in the place of the message
//	}
//
// # What is done
//
// Everything outside of the TNEF stays octet by octet: the header, other parts, signatures. Attachments, embedded
// messages and a meeting (text/calendar) become parts in its place. Its HTML, or what its RTF gives, becomes an
// alternative of the message's text where that is plain and comes first, and otherwise a part. What is signed or
// encrypted is not touched.
//
// A part stays as it came if something in it would be lost: if it is damaged or none, if it is a contact, a task or
// another item that no part can show, or beyond the bounds. [Opened.Kept] says why.
//
// One message gives the same octets each time.
type Winmail struct {
	// Observe is called for each message that has TNEF, from any goroutine [nobody is told].
	Observe func(Opened)
	// Most is how many octets of a message are kept to open it when it is read from a store, which may send any number
	// [256 MiB].
	Most int64

	buffers buffer.Options
	turns   chan struct{}
}

// NewWinmail returns a Winmail whose messages are in such buffers. It opens so many at a time, as each may take some
// 64 MiB of memory; others wait.
func NewWinmail(buffers buffer.Options, atOnce int) *Winmail {
	return &Winmail{buffers: buffers, turns: make(chan struct{}, max(1, atOnce))}
}

// Opened is what became of a message.
type Opened struct {
	// Message is the message with its TNEF opened, or made, for the caller to discard; nil: it is to pass as it came.
	Message *buffer.Buffer
	// Parts are how many parts of TNEF were opened, or made.
	Parts int
	// EightBit says that Message has octets outside ASCII, also where the one that it is made of has none.
	EightBit bool
	// Kept says why a part of TNEF stays as it came, or why none was made; nil: there is no reason to tell.
	Kept error
}

// Open opens the TNEF in a message. An error is the reader's, the buffers' or the context's, and says nothing about the
// message.
func (w *Winmail) Open(ctx context.Context, message io.ReaderAt, size int64) (Opened, error) {
	opened, err := w.convert(ctx, message, size, (*opening).open)
	if err == nil && w.Observe != nil && opened.found() {
		w.Observe(opened)
	}
	return opened, err
}

// convert has a message converted when it is its turn.
func (w *Winmail) convert(ctx context.Context, message io.ReaderAt, size int64, how func(*opening) (Opened, error)) (Opened, error) {
	select {
	case w.turns <- struct{}{}:
		defer func() { <-w.turns }()
	case <-ctx.Done():
		return Opened{}, context.Cause(ctx)
	}
	o := &opening{ctx: ctx, buffers: w.buffers, source: &watched{ctx: ctx, r: message}, size: size}
	result, err := o.safely(how)
	if cause := o.cause(err); cause != nil {
		return Opened{}, cause
	}
	if err != nil {
		result = Opened{Kept: err}
	}
	return result, nil
}

// found says whether the message has TNEF.
func (o Opened) found() bool { return o.Parts > 0 || o.Kept != nil }

// opening is a message whose TNEF is being opened.
type opening struct {
	ctx     context.Context //nolint:containedctx // of the opening, which is its life
	buffers buffer.Options
	source  *watched
	size    int64
	found   []enclosed
	wrapped map[*entity.Entity]bool // texts that have an alternative already

	out  *buffer.Buffer // nil: nothing was opened yet
	at   int64          // how much of the message is in out
	left int64          // how many octets may still be written

	eightBit bool // octets of 8 bits may be written, whatever the message has
}

// safely turns a panic in the conversion into a reason to let the message pass as it came: what a stranger has sent ends
// no process (I8).
func (o *opening) safely(how func(*opening) (Opened, error)) (result Opened, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			if o.out != nil {
				_ = o.out.Discard() // it is not whole
			}
			result, err = Opened{}, fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return how(o)
}

// cause returns the reason of an error if it is none of the message's own.
func (o *opening) cause(err error) error {
	switch storage := (*buffer.StorageError)(nil); {
	case err == nil:
		return nil
	case o.ctx.Err() != nil:
		return context.Cause(o.ctx)
	case errors.As(err, &storage):
		return storage
	}
	return o.source.failed
}

// open opens each part of TNEF, one after the other.
func (o *opening) open() (result Opened, err error) {
	root, err := entity.Read(o.source, o.size)
	if err != nil {
		return Opened{}, err
	}
	o.find(root, enclosed{message: root})
	defer func() {
		if err != nil && o.out != nil {
			_ = o.out.Discard() // the first error is the one that is told
		}
	}()
	for i, p := range o.found {
		if i == winmailMost {
			result.Kept = fmt.Errorf("there are more than %d parts of TNEF", winmailMost)
			break
		}
		kept, err := o.part(p)
		if err != nil {
			return Opened{}, err
		}
		if kept != nil {
			result.Kept = kept
		} else {
			result.Parts++
		}
	}
	if o.out == nil {
		return result, nil
	}
	if err := o.copyTo(o.size); err != nil {
		return Opened{}, err
	}
	result.Message = o.out
	return result, o.out.Commit()
}

// enclosed is where a part of TNEF is.
type enclosed struct {
	part    *entity.Entity
	message *entity.Entity // the innermost message that it is in, or itself
	parent  *entity.Entity // the multipart that it is in; nil: it is the message
	number  int            // among the parent's parts
	fences  []string       // the boundaries of all multiparts that it is in
}

// find looks for the parts of TNEF, in their order.
func (o *opening) find(e *entity.Entity, p enclosed) {
	switch {
	case len(o.found) > winmailMost:
	case e.Is("multipart/signed"), e.Is("multipart/encrypted"): // RFC 1847
	case e.Message != nil:
		o.find(e.Message, enclosed{message: e.Message, fences: p.fences})
	case len(e.Parts) > 0:
		fences := append(p.fences[:len(p.fences):len(p.fences)], "--"+e.Type.Get("boundary"))
		for i, part := range e.Parts {
			o.find(part, enclosed{message: p.message, parent: e, number: i, fences: fences})
		}
	case mime.IsTNEF(e):
		p.part = e
		o.found = append(o.found, p)
	}
}

// part opens one. kept says why it stays as it is.
func (o *opening) part(p enclosed) (kept, err error) {
	var held []*buffer.Buffer
	defer func() {
		for _, b := range held {
			_ = b.Discard() // it is not needed any more
		}
	}()
	m, err := o.read(p, func(r io.Reader) (io.ReaderAt, int64, error) {
		options := o.buffers
		options.MemoryMost = winmailMemory
		b, err := buffer.Fill(options, r)
		if err != nil {
			return nil, 0, err
		}
		held = append(held, b)
		return &watched{ctx: o.ctx, r: b}, b.Size(), nil
	})
	if err == nil {
		err = o.showable(p, m)
	}
	var body *mime.Part
	var attached []*mime.Part
	if err == nil {
		body, attached, err = mime.Writer{}.Parts(m)
	}
	if err == nil && body == nil && len(attached) == 0 && p.number == 0 { // it would leave nothing behind
		err = errNothing
	}
	if err != nil {
		return err, o.cause(err)
	}
	return nil, o.replace(p, body, attached)
}

// Why TNEF is not opened.
var (
	errNothing  = errors.New("there is nothing in it that a part could show")
	errBoundary = errors.New("what is in it has a line that would end the part")
	errEightBit = errors.New("what is in it has 8 bits, and the message has 7")
	errGrowth   = errors.New("what is in it is too large")
)

// read returns the message object of a part of TNEF, with the addresses and the date of the mail that it is in.
func (o *opening) read(p enclosed, spool mime.Spool) (*mapi.Message, error) {
	var head strings.Builder
	for _, f := range p.message.Header.Fields {
		if f.Name != "" && !describes(f.Name) {
			head.Write(f.Raw)
		}
	}
	m, err := mime.Reader{}.Read(strings.NewReader(head.String()), int64(head.Len()))
	if err != nil {
		return nil, err
	}
	m.Delete(mapi.PidTagBody, mapi.PidTagInternetCodepage)
	data := mapi.Content{Open: func() (io.ReadCloser, error) { return io.NopCloser(p.part.Decoded()), nil }}
	return m, mime.OpenTNEF(spool)(m, data)
}

// describes says whether a field describes the content of an entity (RFC 2045 §9, and others that MIME knows).
func describes(name string) bool {
	switch strings.ToLower(name) {
	case "content-type", "content-transfer-encoding", "content-disposition", "content-id", "content-description", "content-md5",
		"content-language", "content-location", "content-base", "content-length", "content-duration", "content-features":
		return true
	}
	return false
}

// showableClasses are the classes of messages that Internet mail can show, in lower case, and what is derived from them.
var showableClasses = []string{"ipm.note", "ipm.post", "ipm.document", "ipm.schedule.meeting", "ipm.appointment", "ipm.microsoft mail.note", "report"}

// showable says why an object is not to be opened, and takes out what the message has already.
func (o *opening) showable(p enclosed, m *mapi.Message) error {
	if err := hasClass(m, 0); err != nil {
		return err
	}
	text := firstText(p)
	if text == nil || !m.Has(mapi.PidTagBody) {
		return nil
	}
	same, err := sameText(text, m)
	if same {
		m.Delete(mapi.PidTagBody)
	}
	return err
}

// hasClass says whether an object, or one in it, is of a class that parts cannot show.
func hasClass(m *mapi.Message, depth int) error {
	class := strings.ToLower(m.Text(mapi.PidTagMessageClass))
	for _, known := range showableClasses {
		if rest, is := strings.CutPrefix(class, known); is && (rest == "" || rest[0] == '.') {
			class = ""
		}
	}
	if class != "" {
		return fmt.Errorf("it is of the class %q", m.Text(mapi.PidTagMessageClass))
	}
	if depth == mapi.DepthMost {
		return mime.ErrTooDeep
	}
	for _, a := range m.Attachments {
		if a.Embedded != nil {
			if err := hasClass(a.Embedded, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// firstText returns the plain text that a part of TNEF comes with, and nil without one.
func firstText(p enclosed) *entity.Entity {
	if p.parent == nil || p.number == 0 || !p.parent.Is("multipart/mixed") && !p.parent.Is("multipart/alternative") {
		return nil
	}
	if first := p.parent.Parts[0]; first.Is("text/plain") && first.Disposition.Value != "attachment" {
		return first
	}
	return nil
}

// replace writes the message up to the part, and what is in it in its place.
func (o *opening) replace(p enclosed, body *mime.Part, attached []*mime.Part) error {
	text := firstText(p)
	switch {
	case p.parent == nil:
		return o.rewrite(p, "", mime.Multipart("mixed", together(body, attached)...))
	case text != nil && p.parent.Is("multipart/mixed") && !o.wrapped[text] && o.at <= start(text):
		if err := o.alternative(p, text, body); err != nil {
			return err
		}
		return o.inPlace(p, attached)
	}
	return o.inPlace(p, together(body, attached))
}

func together(body *mime.Part, attached []*mime.Part) []*mime.Part {
	if body == nil {
		return attached
	}
	return append([]*mime.Part{body}, attached...)
}

// alternative writes a text with another form of it beside it (RFC 2046 §5.1.4).
func (o *opening) alternative(p enclosed, text *entity.Entity, body *mime.Part) error {
	if body == nil {
		return nil
	}
	whole := text.Whole()
	verbatim, err := mime.Verbatim(mapi.Section(whole, 0, whole.Size()))
	if err != nil {
		return err
	}
	if err := o.copyTo(start(text)); err != nil {
		return err
	}
	if o.wrapped == nil {
		o.wrapped = make(map[*entity.Entity]bool)
	}
	o.wrapped[text] = true
	o.at = stop(text)
	into := o.fenced(p)
	if into.eightBit, err = hasEightBit(text.Whole()); err != nil {
		return err
	}
	return mime.Multipart("alternative", verbatim, body).Write(into)
}

// inPlace writes parts in the place of one, with the delimiter that is in front of it between them. Without any, that
// goes, too.
func (o *opening) inPlace(p enclosed, parts []*mime.Part) error {
	before := start(p.part)
	if p.number > 0 {
		before = stop(p.parent.Parts[p.number-1])
	}
	delimiter := io.NewSectionReader(o.source, before, start(p.part)-before)
	if len(parts) == 0 && p.number > 0 {
		err := o.copyTo(before)
		o.at = stop(p.part)
		return err
	}
	if p.number == 0 || !p.parent.Is("multipart/mixed") { // there is no delimiter, or one part has to stay one part
		parts = []*mime.Part{mime.Multipart("mixed", parts...)}
	}
	if err := o.copyTo(start(p.part)); err != nil {
		return err
	}
	o.at = stop(p.part)
	buffer := make([]byte, 4<<10) // for all of them: there may be very many
	for i, part := range parts {
		if i > 0 {
			if _, err := io.CopyBuffer(o, io.NewSectionReader(delimiter, 0, delimiter.Size()), buffer); err != nil {
				return err
			}
		}
		if err := part.Write(o.fenced(p)); err != nil {
			return err
		}
	}
	return nil
}

// rewrite writes a message's header, without what describes its content, a field, if it is not empty, and an entity in the
// place of the content.
func (o *opening) rewrite(p enclosed, field string, content *mime.Part) error {
	if err := o.copyTo(start(p.message)); err != nil {
		return err
	}
	o.at = stop(p.message)
	versioned := false
	for _, f := range p.message.Header.Fields {
		if describes(f.Name) {
			continue
		}
		versioned = versioned || f.Is("MIME-Version")
		raw := f.Raw
		if !bytes.HasSuffix(raw, []byte("\n")) { // the message's end has cut it off (BDAT, RFC 3030 §2)
			raw = append(bytes.Clone(raw), "\r\n"...)
		}
		if _, err := o.Write(raw); err != nil {
			return err
		}
	}
	if !versioned {
		field += "MIME-Version: 1.0\r\n"
	}
	if _, err := io.WriteString(o, field); err != nil {
		return err
	}
	return content.Write(o.fenced(p))
}

// start returns where an entity starts in the message, and stop where it ends.
func start(e *entity.Entity) int64 {
	_, at, _ := e.Whole().Outer()
	return at
}

func stop(e *entity.Entity) int64 { return start(e) + e.Whole().Size() }

// copyTo writes the message as it came, up to an offset.
func (o *opening) copyTo(offset int64) error {
	n, err := io.Copy(o, io.NewSectionReader(o.source, o.at, offset-o.at))
	o.at += n
	return err
}

// Write writes some of the new message.
func (o *opening) Write(octets []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	if o.out == nil {
		o.out, o.left = buffer.Create(o.buffers), winmailGrowth*o.size+winmailSpare
	}
	if o.left -= int64(len(octets)); o.left < 0 {
		return 0, errGrowth
	}
	return o.out.Write(octets)
}

// fenced returns the writer for what was in a part: none of its lines may be taken for a delimiter of what is around it.
func (o *opening) fenced(p enclosed) *fence {
	return &fence{to: o, delimiters: p.fences, eightBit: o.eightBit}
}
