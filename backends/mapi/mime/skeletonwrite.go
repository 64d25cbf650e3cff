package mime

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"io"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
)

// assembly is a skeleton with the contents that fill it.
type assembly struct {
	octets     []byte
	pieces     []assemblyPiece
	boundaries []string
}

// assemblyPiece are octets of the skeleton, or what fills it.
type assemblyPiece struct {
	from, to int
	fill     func(*output)
}

// write writes the message from where the fields of its header end.
func (a *assembly) write(o *output) {
	defer o.guard.enter(a.boundaries)()
	for _, piece := range a.pieces {
		if piece.fill == nil {
			_, _ = o.Write(a.octets[piece.from:piece.to]) // the error stays
			continue
		}
		leave := o.guard.enter(nil)
		piece.fill(o)
		leave()
	}
}

// guard looks for lines that would be taken for delimiters of the skeleton around them. A nil guard does not look.
type guard struct {
	level    int
	open     map[string]int // the boundaries, and how deep the skeleton is that they are of
	line     []byte
	deepest  int // level of what is on the line
	collided bool
}

// enter goes into a skeleton, or what fills it, until the function that it returns is called.
func (g *guard) enter(boundaries []string) (leave func()) {
	if g == nil {
		return func() {}
	}
	g.level++
	var opened []string
	for _, b := range boundaries {
		if _, is := g.open[b]; !is {
			g.open[b] = g.level
			opened = append(opened, b)
		}
	}
	return func() {
		for _, b := range opened {
			delete(g.open, b)
		}
		g.level--
	}
}

// delimiterMost is longer than a line that is read as a delimiter.
const delimiterMost = 1000

func (g *guard) look(octets []byte) {
	for len(octets) > 0 {
		piece, rest, ended := bytes.Cut(octets, []byte("\n"))
		if len(piece) > 0 {
			g.deepest = max(g.deepest, g.level)
		}
		g.line = append(g.line, piece[:min(len(piece), delimiterMost-len(g.line))]...)
		if octets = rest; ended {
			g.endLine()
		}
	}
}

func (g *guard) endLine() {
	if text, is := bytes.CutPrefix(bytes.TrimRight(g.line, " \t\r"), []byte("--")); is {
		for _, name := range []string{string(text), strings.TrimSuffix(string(text), "--")} {
			level, open := g.open[name]
			g.collided = g.collided || open && level < g.deepest
		}
	}
	g.line, g.deepest = g.line[:0], 0
}

// collides says whether what fills the skeletons of a message would break them.
func collides(root *part) (bool, error) {
	g := &guard{open: map[string]int{}}
	o := &output{w: io.Discard, guard: g}
	root.write(o)
	return g.collided, o.err
}

// assembler fills a skeleton.
type assembler struct {
	*planner
	*assembly
	at        int
	used      []bool // attachments
	plain     bool
	html      bool
	otherwise bool // something else says what the text says
	own       bool
	sum       []byte
	err       error // of messages in it
}

// skeleton plans the message by its skeleton. It returns nil if there is none that is whole, and of this object as it is.
// Of other errors than those of messages in it there is none: they are met again where the message is made anew.
func (p *planner) skeleton() (*part, error) {
	octets := p.skeletonOctets()
	if octets == nil {
		return nil, nil
	}
	e, err := entity.Read(bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		return nil, nil
	}
	a := &assembler{planner: p, assembly: &assembly{octets: octets}, used: make([]bool, len(p.m.Attachments))}
	root := fillingOf(e)
	a.own = root.envelope != ""
	if !a.own && strings.Contains(strings.ToLower(p.m.Text(mapi.PidTagMessageClass)), ".smime") {
		return a.foreignSigned(e), nil
	}
	fields := a.header(e, root)
	for _, f := range e.Header.Fields {
		a.at += len(f.Raw)
	}
	if a.entity(e, root) != nil || !a.complete() || p.err != nil {
		return nil, a.err
	}
	a.copyTo(len(octets))
	return &part{fields: fields, skeleton: a.assembly, sum: sha256.Sum256(append(a.sum, octets...))}, nil
}

// skeletonOctets reads the skeleton, if that of this message and those of all in it are not too large.
func (p *planner) skeletonOctets() []byte {
	if v := p.m.Get(mapi.PidTagMimeSkeleton); v == nil || v.Type() != mapi.PtypBinary {
		return nil
	}
	r, err := p.m.OpenBytes(mapi.PidTagMimeSkeleton)
	if err != nil {
		return nil
	}
	defer r.Close()
	octets, err := io.ReadAll(io.LimitReader(r, p.shared.skeletons+1))
	if err != nil || int64(len(octets)) > p.shared.skeletons {
		return nil
	}
	p.shared.skeletons -= int64(len(octets))
	return octets
}

func fillingOf(e *entity.Entity) filling {
	return parseFilling(e.Field(skeletonPart), e.Encoding)
}

// regenerated are the fields that properties say better than a skeleton of somebody else, MS-OXCMAIL §2.1.3.5.1.
var regenerated = []string{"keywords", "importance", "priority", "x-msmail-priority", "x-priority", "x-message-flag"}

// header returns the fields of the message: as they came, if the properties say what they said then.
func (a *assembler) header(e *entity.Entity, root filling) (list []string) {
	changed := a.own && root.envelope != envelopeSum(a.m)
	if changed {
		list = a.madeHeader()
	}
	for _, f := range e.Header.Fields {
		name := strings.ToLower(f.Name)
		switch isMIME := name == "mime-version" || strings.HasPrefix(name, "content-") && IsOfStructure(name); {
		case f.Is(skeletonID), f.Is(skeletonPart), changed && !isMIME, !a.own && slices.Contains(regenerated, name):
		case !a.Bcc && (name == "bcc" || name == "resent-bcc"), IsReserved(name):
		default:
			list = append(list, string(f.Raw))
		}
	}
	if !a.own {
		made := &fields{planner: a.planner}
		made.choice("Importance", mapi.PidTagImportance, importanceNormal, importanceNames)
		made.text("Keywords", strings.Join(a.m.Texts(mapi.PidNameKeywords), ", "))
		list = append(made.list, list...)
	}
	return list
}

// foreignSigned plans a signed or encrypted message, of which the skeleton has the header alone (MS-OXCMAIL §2.4.3.1).
func (a *assembler) foreignSigned(e *entity.Entity) *part {
	whole, err := a.signed()
	if whole == nil || err != nil {
		return nil
	}
	for _, f := range a.header(e, filling{}) {
		if !strings.HasPrefix(strings.ToLower(f), "content-") {
			whole.fields = append(whole.fields, strings.TrimRight(f, "\r\n")+"\r\n") // the last one may have no line end
		}
	}
	slices.SortStableFunc(whole.fields, func(x, y string) int {
		return cmp.Compare(contentLast(x), contentLast(y))
	})
	return whole
}

func contentLast(field string) int {
	if strings.HasPrefix(field, "Content-") {
		return 1
	}
	return 0
}

func (a *assembler) copyTo(offset int) {
	if offset > a.at {
		a.pieces = append(a.pieces, assemblyPiece{from: a.at, to: offset})
		a.at = offset
	}
}

// entity goes through an entity of the skeleton. The fields of the message itself are passed.
func (a *assembler) entity(e *entity.Entity, f filling) error {
	a.withoutMarks(e)
	if f.role == "" && !a.own {
		f = a.foreign(e)
	}
	switch {
	case f.role == roleNone || f.role == "" && len(e.Parts) > 0:
		a.boundaries = append(a.boundaries, e.Type.Get("boundary"))
		for _, part := range e.Parts {
			if err := a.entity(part, fillingOf(part)); err != nil {
				return err
			}
		}
		return nil
	case f.role == "":
		return errSkeleton
	}
	return a.fill(e, f)
}

// withoutMarks leaves the fields out that are the skeleton's.
func (a *assembler) withoutMarks(e *entity.Entity) {
	_, start, _ := e.Whole().Outer()
	at := int(start)
	for _, f := range e.Header.Fields {
		if end := at + len(f.Raw); at >= a.at && (f.Is(skeletonID) || f.Is(skeletonPart)) {
			a.copyTo(at)
			a.at = end
		}
		at += len(f.Raw)
	}
}

// retained are the media types of which the contents are in skeletons, MS-OXCMAIL §2.4.3.1.
var retained = []string{
	"text/calendar", "text/vcard", "text/x-vcard", "text/directory", "message/delivery-status", "message/disposition-notification",
}

// foreign finds out what fills a part of a skeleton that somebody else has made, MS-OXCMAIL §2.1.3.5.1.
func (a *assembler) foreign(e *entity.Entity) filling {
	f := filling{encoding: e.Encoding, width: 76}
	id := cmp.Or(trimID(e.Field(skeletonID)), contentID(e))
	n := slices.IndexFunc(a.m.Attachments, func(at *mapi.Attachment) bool {
		return id != "" && trimID(at.Text(mapi.PidTagAttachContentId)) == id
	})
	switch {
	case n >= 0 && a.m.Attachments[n].Embedded != nil:
		f.role, f.number = roleMessage, n
	case n >= 0:
		f.role, f.number, f.kept = roleAttachment, n, e.Raw().Size() > 0
	case len(e.Parts) > 0:
		f.role = roleNone
	case slices.Contains(retained, e.Type.Value):
		f.role, f.kept = roleCalendar, true
	case e.Raw().Size() > 0 || e.Encoding == "uuencode":
	case e.Is("text/html"):
		f.role = roleHTML
	case e.Is("text/plain"):
		f.role, f.page = rolePlain, a.foreignPage(e)
	}
	return f
}

func (a *assembler) foreignPage(e *entity.Entity) int {
	if e.Type.Get("charset") == "" {
		return a.page().Number
	}
	page, err := e.TextPage() // reads nothing: there is no content
	if err != nil {
		return 0
	}
	return page.Number
}

// fill fills a part, or looks whether the content that it has is the object's.
func (a *assembler) fill(e *entity.Entity, f filling) error {
	var attachment *mapi.Attachment
	if f.role == roleAttachment || f.role == roleMessage || f.role == roleSigned {
		if f.number >= len(a.used) || a.used[f.number] {
			return errSkeleton
		}
		a.used[f.number] = true
		attachment = a.m.Attachments[f.number]
	}
	switch f.role {
	case rolePlain:
		if a.plain {
			return errSkeleton
		}
		a.plain = true
	case roleHTML, roleEnriched:
		if a.html {
			return errSkeleton
		}
		a.html = true
	case roleMessage:
		return a.message(e, attachment)
	case roleSigned:
		return a.signedEntity(e, f, attachment)
	case roleCalendar, roleReport:
		a.otherwise = true
		if says, err := saidByObject(a.m, f.role); a.own && (err != nil || says != f.says) {
			return errSkeleton
		}
		return nil
	}
	if attachment != nil && a.own && !isNamedAs(attachment, e) {
		return errSkeleton
	}
	if f.kept {
		return a.isAsKept(e, f, attachment)
	}
	content, err := f.ofObject(a.m, attachment)
	if err != nil {
		return err
	}
	return a.insert(e, func(w io.Writer) error { return f.write(w, content) })
}

// isNamedAs says whether an attachment has the name that a part has, if that has one.
func isNamedAs(a *mapi.Attachment, e *entity.Entity) bool {
	name := withoutNULs(e.Filename())
	return name == "" || name == filename(a)
}

// isAsKept says by an error if the object has another content than a part of the skeleton.
func (a *assembler) isAsKept(e *entity.Entity, f filling, attachment *mapi.Attachment) error {
	if f.role == rolePlain {
		page, err := e.TextPage()
		if err != nil || !a.m.Has(mapi.PidTagBody) {
			return errSkeleton
		}
		return sameAs(withoutNUL(e.DecodedText(page)), copying(func() (io.ReadCloser, error) { return a.m.OpenText(mapi.PidTagBody) }))
	}
	if f.role == roleEnriched {
		return a.isEnriched(e)
	}
	content, err := f.ofObject(a.m, attachment)
	if err != nil {
		return err
	}
	if f.role == roleHTML {
		page, err := e.TextPage()
		if err != nil {
			return err
		}
		if inHTML(page) != page.Number {
			return sameAs(e.DecodedText(page), content)
		}
	}
	return sameAs(e.Decoded(), content)
}

// isEnriched says by an error if the HTML of the object is not the one that text/enriched becomes.
func (a *assembler) isEnriched(e *entity.Entity) error {
	if e.Raw().Size() > enrichedMost {
		return errSkeleton
	}
	html, err := enrichedHTML(e)
	if err != nil {
		return err
	}
	content, err := filling{role: roleHTML}.ofObject(a.m, nil)
	if err != nil {
		return err
	}
	return sameAs(bytes.NewReader(html), content)
}

// insert puts a content in where the skeleton has none.
func (a *assembler) insert(e *entity.Entity, content func(io.Writer) error) error {
	sum, err := sumOf(content)
	if err != nil {
		return err
	}
	a.sum = append(a.sum, sum[:]...)
	return a.put(e, func(o *output) { o.copy(content) })
}

// put puts something in where the body of an entity is: between the empty line and the next delimiter.
func (a *assembler) put(e *entity.Entity, fill func(*output)) error {
	_, body, size := e.Raw().Outer()
	next := a.octets[body+size:]
	if len(e.Header.End) == 0 || e.Whole().Size() != e.Header.Size()+size || len(next) > 0 && next[0] != '\r' && next[0] != '\n' {
		return errSkeleton
	}
	a.copyTo(int(body))
	a.at = int(body + size)
	a.pieces = append(a.pieces, assemblyPiece{fill: fill})
	return nil
}

// message puts an embedded message in.
func (a *assembler) message(e *entity.Entity, attachment *mapi.Attachment) error {
	if attachment.Embedded == nil || e.Encoding != "" {
		return errSkeleton
	}
	inner, err := a.Writer.plan(attachment.Embedded, a.depth+1, a.shared)
	if err != nil {
		a.err = err
		return err
	}
	a.shared.planned[attachment.Embedded] = inner
	a.sum = append(a.sum, inner.sum[:]...)
	return a.put(e, inner.write)
}

// signedEntity puts the signed entity in, without its fields, which the skeleton has.
func (a *assembler) signedEntity(e *entity.Entity, f filling, attachment *mapi.Attachment) error {
	if f.kept || attachment.Data.IsZero() {
		return errSkeleton
	}
	head := contentFields(&header.Header{Fields: slices.DeleteFunc(slices.Clone(e.Header.Fields), func(f header.Field) bool { return f.Is(skeletonID) })})
	return a.insert(e, func(w io.Writer) error {
		r, err := attachment.Data.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		has := make([]byte, len(head))
		if _, err := io.ReadFull(r, has); err != nil || !bytes.Equal(has, head) {
			return errSkeleton
		}
		_, err = io.Copy(w, r)
		return err
	})
}

// PidTagNativeBody says which body a client has written, MS-OXCMSG §2.2.1.58.2.
const nativePlain = 1

// complete says whether all that the object has is in the message.
func (a *assembler) complete() bool {
	if slices.Contains(a.used, false) {
		return false
	}
	if !a.plain && !a.html {
		has := a.m.Has(mapi.PidTagBody) || a.m.Has(mapi.PidTagHtml) || a.m.Has(mapi.PidTagRtfCompressed)
		return !has || a.otherwise || len(a.used) == 1 && strings.Contains(strings.ToLower(a.m.Text(mapi.PidTagMessageClass)), ".smime")
	}
	native, is := a.m.Integer(mapi.PidTagNativeBody)
	return a.html || !is || native <= nativePlain
}
