package mime

import (
	"bytes"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/rtf"
)

// entity plans the content of the message: multipart/mixed around its body and its attachments, as far as there is a need
// for it. MS-OXCMAIL §2.1.3.3.
func (p *planner) entity() (*part, error) {
	body, attached, err := p.parts()
	switch {
	case err != nil:
		return nil, err
	case len(attached) > 0 && body != nil:
		return &part{subtype: "mixed", parts: append([]*part{body}, attached...)}, nil
	case len(attached) > 0:
		return &part{subtype: "mixed", parts: attached}, nil
	case body == nil:
		return p.textPart("text/plain", func(io.Writer) error { return nil }, "")
	}
	return body, nil
}

// parts plans the body and the attachments by the message's class, MS-OXCMAIL §2.1.3.2. There may be neither.
func (p *planner) parts() (body *part, attached []*part, err error) {
	class := strings.ToLower(p.m.Text(mapi.PidTagMessageClass))
	switch {
	case strings.HasSuffix(class, ".smime.multipartsigned"), strings.HasSuffix(class, ".smime"):
		body, err = p.signed()
	case strings.HasPrefix(class, "report.") && !p.Form.isNotMIME():
		body, err = p.report(class)
	}
	switch {
	case body != nil || err != nil:
		return body, nil, err
	case p.Form.isNotMIME():
		return p.formed()
	}
	return p.ordinary()
}

// ordinary plans multipart/related around multipart/alternative, as far as there is a need for each, and the attachments.
// MS-OXCMAIL §2.1.3.3.
func (p *planner) ordinary() (body *part, attached []*part, err error) {
	body, html, err := p.body()
	if err != nil {
		return nil, nil, err
	}
	var unsaid *part
	if !p.isInWords() {
		calendar, err := p.calendar()
		if calendar == nil && err == nil {
			unsaid, err = p.unsaid()
		}
		if err != nil {
			return nil, nil, err
		}
		if calendar != nil {
			body = besides(body, calendar)
		}
	}
	inline, attached, err := p.attachments(html)
	if len(inline) > 0 {
		kind := ";\r\n\ttype=\"text/html\"" // RFC 2387 §3.1
		if body.subtype != "" {
			kind = ";\r\n\ttype=\"multipart/alternative\""
		}
		body = &part{subtype: "related", extra: kind, parts: append([]*part{body}, inline...)}
	}
	if err != nil {
		return nil, nil, err
	}
	card, err := p.card()
	if card != nil {
		attached = append(attached, card)
	}
	if unsaid != nil { // in front of the files, where readers show it below the text
		attached = append([]*part{unsaid}, attached...)
	}
	return body, attached, err
}

// besides adds another form of the body, MS-OXCMAIL §2.1.3.3.8.2.
func besides(body, form *part) *part {
	switch {
	case body == nil:
		return form
	case body.subtype == "":
		return &part{subtype: "alternative", parts: []*part{body, form}}
	}
	body.parts = append(body.parts, form)
	return body
}

// body plans the text: HTML with plain text beside it, or one of them (MS-OXCMAIL §2.1.3.3). It returns
// nil if there is none, and the HTML, if there is some, to look for references in it.
func (p *planner) body() (body *part, html func(io.Writer) error, err error) {
	t, err := p.texts()
	if err != nil {
		return nil, nil, err
	}
	var plain, rich *part
	if t.enriched != nil {
		body, err = p.textPart("text/enriched", t.enriched, "")
		return body, nil, err
	}
	if t.plain != nil {
		if plain, err = p.textPart("text/plain", t.plain, ""); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case t.octets != nil:
		rich, err = p.htmlPart(t.octets)
	case t.html != nil:
		rich, err = p.textPart("text/html", t.html, "")
	}
	switch {
	case err != nil:
		return nil, nil, err
	case rich == nil:
		return plain, nil, nil
	case plain == nil:
		return rich, t.html, nil
	}
	return &part{subtype: "alternative", parts: []*part{plain, rich}}, t.html, nil
}

// plainText returns what writes the plain text as UTF-8, and whether there is one.
func (p *planner) plainText() (func(io.Writer) error, bool) {
	if v := p.m.Get(mapi.PidTagBody); v == nil || !v.Type().IsText() {
		return nil, false
	}
	return copying(func() (io.ReadCloser, error) { return p.m.OpenText(mapi.PidTagBody) }), true
}

// htmlOctets returns what writes PidTagHtml, nil without that.
func (p *planner) htmlOctets() func(io.Writer) error {
	v := p.m.Get(mapi.PidTagHtml)
	if v == nil || v.Type() != mapi.PtypBinary {
		return nil
	}
	return copying(func() (io.ReadCloser, error) { return p.m.OpenBytes(mapi.PidTagHtml) })
}

// htmlText returns what writes HTML as UTF-8: the string that older objects have, or what RTF is made from or looks like
// (MS-OXBBODY). It returns nil if there is none, or if plain text is what the RTF was made from.
func (p *planner) htmlText(plain bool) (func(io.Writer) error, error) {
	if v := p.m.Get(mapi.PidTagBodyHtml); v != nil && v.Type().IsText() {
		return copying(func() (io.ReadCloser, error) { return p.m.OpenText(mapi.PidTagBodyHtml) }), nil
	}
	if v := p.m.Get(mapi.PidTagRtfCompressed); v == nil || v.Type() != mapi.PtypBinary {
		return nil, nil
	}
	d, closing, err := p.openRTF()
	if err != nil {
		return nil, p.readRTF(err)
	}
	defer closing.Close()
	if plain && d.Kind() == rtf.FromText {
		return nil, nil
	}
	if d.Kind() != rtf.FromHTML && d.Kind() != rtf.FromText {
		if err := p.planPictures(); err != nil {
			return nil, err
		}
	}
	return func(w io.Writer) error {
		d, closing, err := p.openRTFWith(rtf.Options{Picture: p.knownPicture})
		if err != nil {
			return err
		}
		defer closing.Close()
		report, err := d.WriteHTML(w)
		if slices.ContainsFunc(report.CodePages, isLost) {
			p.unshown = true
		}
		return p.readRTF(err)
	}, nil
}

// isLost says whether the octets of a code page of RTF are nowhere in its HTML. Those of a font of symbols are there, for whoever has the font.
func isLost(page rtf.CodePage) bool { return page.Number != rtf.Symbols }

func (p *planner) openRTF() (*rtf.Document, io.Closer, error) { return p.openRTFWith(rtf.Options{}) }

func (p *planner) openRTFWith(o rtf.Options) (*rtf.Document, io.Closer, error) {
	r, err := p.m.OpenBytes(mapi.PidTagRtfCompressed)
	if err != nil {
		return nil, nil, err
	}
	d, err := rtf.OpenCompressed(r, o)
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return d, r, nil
}

// readRTF takes the error of reading the RTF. Where that is damaged what could be read is the body, and the RTF is
// attached as it is.
func (p *planner) readRTF(err error) error {
	if rtf.IsIncomplete(err) {
		p.damaged = true
		return nil
	}
	return err
}

// wholeRTF returns an attachment of the RTF, for what its HTML lacks.
func (p *planner) wholeRTF() *mapi.Attachment {
	a := &mapi.Attachment{Data: mapi.Content{Open: func() (io.ReadCloser, error) {
		r, err := p.m.OpenBytes(mapi.PidTagRtfCompressed)
		if err != nil {
			return nil, err
		}
		d, err := rtf.NewDecompressor(r)
		return struct {
			io.Reader
			io.Closer
		}{d, r}, err
	}}}
	a.Set(mapi.PidTagAttachLongFilename, mapi.String("message.rtf"))
	a.Set(mapi.PidTagAttachMimeTag, mapi.String("application/rtf"))
	return a
}

// damagedRTF returns an attachment of the RTF as it is.
func (p *planner) damagedRTF() *mapi.Attachment {
	a := &mapi.Attachment{Data: mapi.Content{Open: func() (io.ReadCloser, error) { return p.m.OpenBytes(mapi.PidTagRtfCompressed) }}}
	a.Set(mapi.PidTagAttachLongFilename, mapi.String("PidTagRtfCompressed.bin"))
	return a
}

// attachments plans the attachments, when the body is planned: those that the HTML shows, and the others. MS-OXCMAIL §2.1.3.4.
func (p *planner) attachments(html func(io.Writer) error) (inline, attached []*part, err error) {
	all := p.files()
	shown, err := p.shown(all, html)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range all {
		if p.inCalendar && (isException(a) || isEvent(a)) || p.isInWords() && isException(a) {
			continue
		}
		isShown := html != nil && isInline(a, shown)
		planned, err := p.attachment(a, isShown)
		switch {
		case err != nil:
			return nil, nil, err
		case isShown:
			inline = append(inline, planned)
		default:
			attached = append(attached, planned)
		}
	}
	return inline, attached, nil
}

// shown returns the Content-IDs that the HTML refers to, if any attachment has one.
func (p *planner) shown(all []*mapi.Attachment, html func(io.Writer) error) (map[string]bool, error) {
	has := func(a *mapi.Attachment) bool { return a.Has(mapi.PidTagAttachContentId) }
	if html == nil || !slices.ContainsFunc(all, has) {
		return nil, nil
	}
	found := &references{ids: map[string]bool{}}
	return found.ids, html(found)
}

// isInline says whether the text shows an attachment, MS-OXCMAIL §2.1.3.4.1.2: what only its flags say is not believed.
func isInline(a *mapi.Attachment, shown map[string]bool) bool {
	flags, _ := a.Integer(mapi.PidTagAttachFlags)
	if flags&attachRenderedInBody == 0 || a.Embedded != nil {
		return false
	}
	return shown[a.Text(mapi.PidTagAttachContentId)] || a.Has(mapi.PidTagAttachContentLocation)
}

// attachment plans one, MS-OXCMAIL §2.1.3.4.
func (p *planner) attachment(a *mapi.Attachment, inline bool) (*part, error) {
	if a.Embedded != nil {
		inner := p.Writer
		message, err := inner.plan(a.Embedded, p.depth+1, p.shared)
		return &part{fields: []string{"Content-Type: message/rfc822\r\n"}, message: message}, err
	}
	content := copying(dataOf(a))
	mediaType, encoding, err := attachedAs(mediaTypeOf(a), content)
	if err != nil {
		return nil, err
	}
	sum, err := sumOf(content)
	return leaf(content, attachmentFields(a, mediaType, inline), encoding, sum), err
}

// dataOf returns what opens the octets of an attachment.
func dataOf(a *mapi.Attachment) func() (io.ReadCloser, error) {
	if a.Data.IsZero() { // by reference: the path is all that there is
		return func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(a.Text(mapi.PidTagAttachLongPathname))), nil
		}
	}
	return a.Data.Open
}

// attachedAs returns the media type and the transfer encoding of an attachment. RFC 2045 §6.4 and RFC 2046 §5.2: entities
// and messages are not encoded. What was not opened must not be opened now.
func attachedAs(mediaType string, content func(io.Writer) error) (as, encoding string, err error) {
	switch {
	case mediaType == "message/rfc822", mediaType == "message/global", strings.HasPrefix(mediaType, "multipart/"):
		return "application/octet-stream", "base64", nil
	case !strings.HasPrefix(mediaType, "message/"):
		return mediaType, "base64", nil
	}
	s, err := measure(content)
	if err != nil || s.encoding(false) != "" {
		return "application/octet-stream", "base64", err
	}
	return mediaType, "", nil
}

// attachmentFields returns the fields of an attachment, MS-OXCMAIL §2.1.3.4.2.2.
func attachmentFields(a *mapi.Attachment, mediaType string, inline bool) []string {
	name := filename(a)
	contentType, disposition := "Content-Type: "+mediaType, "Content-Disposition: attachment"
	if inline {
		disposition = "Content-Disposition: inline"
	}
	if charset := a.Text(mapi.PidTagTextAttachmentCharset); charset != "" && strings.HasPrefix(mediaType, "text/") {
		contentType += entity.FormatParameter("charset", charset)
	}
	if name != "" {
		contentType += entity.FormatParameter("name", name)
		disposition += entity.FormatParameter("filename", name)
	}
	for _, d := range attachmentDates {
		if at, ok := dateOf(&a.Properties, d.tag); ok {
			disposition += entity.FormatParameter(d.parameter, at.Format(time.RFC1123Z))
		}
	}
	fields := []string{contentType + "\r\n"}
	if description := a.Text(mapi.PidTagDisplayName); description != "" && description != name {
		fields = append(fields, entity.FormatText("Content-Description", description))
	}
	if id := withoutBlanks(a.Text(mapi.PidTagAttachContentId)); id != "" && !strings.HasSuffix(id, skeletonIDEnd) && len(id) < lineMost-len("Content-ID: <>") && isASCII(id) {
		fields = append(fields, "Content-ID: <"+id+">\r\n")
	}
	if location := a.Text(mapi.PidTagAttachContentLocation); location != "" {
		fields = append(fields, entity.FormatText("Content-Location", location))
	}
	return append(fields, disposition+"\r\n")
}

// filename returns the name of an attached file, MS-OXCMAIL §2.1.3.4.2.1.
func filename(a *mapi.Attachment) string {
	for _, tag := range []mapi.Tag{mapi.PidTagAttachLongFilename, mapi.PidTagAttachFilename} {
		if name := a.Text(tag); name != "" {
			return name
		}
	}
	return ""
}

// mediaTypes are those of files, by the extensions of their names. It is no system's table: that differs from one to the next.
var mediaTypes = map[string]string{
	".txt": "text/plain", ".htm": "text/html", ".html": "text/html", ".csv": "text/csv", ".ics": "text/calendar", ".vcf": "text/vcard", ".xml": "text/xml",
	".gif": "image/gif", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff",
	".pdf": "application/pdf", ".rtf": "application/rtf", ".zip": "application/zip", ".doc": "application/msword", ".xls": "application/vnd.ms-excel",
	".ppt": "application/vnd.ms-powerpoint", ".mp3": "audio/mpeg", ".wav": "audio/wav", ".mp4": "video/mp4", ".eml": "application/octet-stream",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}

// mediaTypeOf returns the media type of an attachment, MS-OXCMAIL §2.1.3.4.2.2.
func mediaTypeOf(a *mapi.Attachment) string {
	if a.Data.IsZero() && a.Has(mapi.PidTagAttachLongPathname) {
		return "text/uri-list" // RFC 2483 §5
	}
	tag := strings.ToLower(a.Text(mapi.PidTagAttachMimeTag))
	if parsed := entity.ParseParameters(tag).Value; entity.IsMediaType(parsed) {
		return parsed
	}
	if mediaType := mediaTypes[strings.ToLower(path.Ext(filename(a)))]; mediaType != "" {
		return mediaType
	}
	return "application/octet-stream"
}

// signedHead is how much of a signed entity is read to see its fields.
const signedHead = 64 << 10

// signed plans a message whose one attachment is the signed or encrypted entity, MS-OXOSMIME. It returns nil if
// the object is not so.
func (p *planner) signed() (*part, error) {
	if len(p.m.Attachments) != 1 || p.m.Attachments[0].Data.IsZero() {
		return nil, nil
	}
	a := p.m.Attachments[0]
	content := copying(a.Data.Open)
	sum, err := sumOf(content)
	if err != nil {
		return nil, err
	}
	isClear, err := isClearSigned(a.Data)
	switch {
	case err != nil:
		return nil, err
	case isClear:
		whole := leaf(content, nil, "", sum)
		whole.raw = true
		return whole, nil
	case strings.HasSuffix(strings.ToLower(p.m.Text(mapi.PidTagMessageClass)), "signed"):
		return nil, nil
	}
	mediaType := mediaTypeOf(a)
	if !strings.Contains(mediaType, "pkcs7-mime") {
		mediaType = "application/pkcs7-mime"
	}
	return leaf(content, attachmentFields(a, mediaType, false), "base64", sum), nil
}

// isClearSigned says whether octets are an entity of type multipart/signed with its own fields.
func isClearSigned(c mapi.Content) (bool, error) {
	r, err := c.Open()
	if err != nil {
		return false, err
	}
	defer r.Close()
	start, err := io.ReadAll(io.LimitReader(r, signedHead))
	if err != nil {
		return false, err
	}
	h, _, err := header.Read(bytes.NewReader(start), signedHead)
	if err != nil || len(h.End) == 0 {
		return false, nil // it is something else, or has fields that are not looked at
	}
	for _, f := range h.Fields {
		if !strings.HasPrefix(strings.ToLower(f.Name), "content-") {
			return false, nil // no field of it may be one of the message
		}
	}
	for _, f := range h.All("Content-Type") {
		return strings.EqualFold(entity.ParseParameters(f.Value()).Value, "multipart/signed"), nil
	}
	return false, nil
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f })
}
