package mime

import (
	"bytes"
	"io"
	"net/url"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/htmltext"
	"github.com/dipylon/dipylon/backends/mapi"
)

// walk looks for the body, and makes attachments of all else. MS-OXCMAIL §2.2.3.3.2.
func (c *conversion) walk(e *entity.Entity) error {
	switch {
	case e.Message != nil:
		return c.embed(e)
	case e.Is("multipart/alternative") && c.open:
		return c.alternative(e)
	case e.Is("multipart/related") && len(e.Parts) > 1:
		return c.relatedParts(e)
	case len(e.Parts) > 0:
		return c.each(e.Parts)
	case c.isBody(e):
		c.take(e)
		return nil
	case c.isMeeting(e):
		return c.meeting(e)
	case e.Is(binHexType):
		return c.attachBinHex(e)
	case IsTNEF(e) && c.TNEF != nil:
		c.tnef = append(c.tnef, e)
		return nil
	}
	_, err := c.attach(e)
	return err
}

func (c *conversion) each(parts []*entity.Entity) error {
	for _, part := range parts {
		if err := c.walk(part); err != nil {
			return err
		}
	}
	return nil
}

// alternative looks for the body in each of its forms. Those that are not known are attachments.
func (c *conversion) alternative(e *entity.Entity) error {
	if len(e.Parts) == 0 {
		c.take(e)
		return nil
	}
	c.within++
	err := c.each(e.Parts)
	c.within--
	c.open = c.open && (c.within > 0 || c.plain == nil && c.html == nil && c.enriched == nil)
	return err
}

// relatedParts takes the root (RFC 2387 §3.2), and the parts that it may refer to.
func (c *conversion) relatedParts(e *entity.Entity) error {
	root := 0
	for i, part := range e.Parts {
		if start := e.Type.Get("start"); start != "" && contentID(part) == trimID(start) {
			root = i
		}
	}
	if err := c.walk(e.Parts[root]); err != nil {
		return err
	}
	for i, part := range e.Parts {
		if i == root {
			continue
		}
		if part.Message != nil || len(part.Parts) > 0 {
			if err := c.walk(part); err != nil {
				return err
			}
			continue
		}
		a, err := c.attach(part)
		if err != nil {
			return err
		}
		c.related = append(c.related, a)
	}
	return nil
}

// isBody says whether a part is the body, or one of its forms. A multipart that has no parts is text.
func (c *conversion) isBody(e *entity.Entity) bool {
	switch {
	case !c.open || e.Disposition.Value == "attachment":
		return false
	case e.Is("text/html"):
		return c.html == nil
	case e.Is("text/enriched"):
		return c.enriched == nil && c.html == nil && e.Raw().Size() <= enrichedMost
	case e.Is("text/plain"), e.Is("multipart/") && e.Encoding == "":
		return c.plain == nil && (c.html == nil || c.within > 0)
	}
	return false
}

func (c *conversion) take(e *entity.Entity) {
	switch {
	case e.Is("text/html"):
		c.html = e
	case e.Is("text/enriched"):
		c.enriched = e
	default:
		c.plain = e
	}
	c.open = c.within > 0
}

// body sets the properties of the body, MS-OXCMAIL §2.2.3.3.
func (c *conversion) body(*entity.Entity) error {
	if c.plain != nil { // it counts more than the description of a meeting
		if err := c.openUUEncode(); err != nil {
			return err
		}
		page, err := c.plain.TextPage()
		if err != nil {
			return err
		}
		text, err := textValue(func() (io.Reader, error) { return withoutNUL(page.Encoding.NewDecoder().Reader(c.plainOctets())), nil })
		if err != nil {
			return err
		}
		c.m.Set(mapi.PidTagBody, text)
		c.m.Set(mapi.PidTagInternetCodepage, mapi.Integer32(inHTML(page)))
	}
	switch {
	case c.html != nil && c.enriched != nil:
		if _, err := c.attach(c.enriched); err != nil {
			return err
		}
		return c.setHTML()
	case c.html != nil:
		return c.setHTML()
	case c.enriched != nil:
		return c.setEnriched()
	}
	return nil
}

// setHTML keeps the octets as they came, in the code page that PidTagInternetCodepage says. A page that
// ASCII is not a part of is none for HTML.
func (c *conversion) setHTML() error {
	page, err := c.html.TextPage()
	if err != nil {
		return err
	}
	content, err := contentOf(c.html)
	if inHTML(page) != page.Number {
		content, err = measured(func() (io.Reader, error) { return c.html.DecodedText(page), nil })
		page.Number = inHTML(page)
	}
	if err != nil {
		return err
	}
	value, err := bytesValue(content)
	if err != nil {
		return err
	}
	c.m.Set(mapi.PidTagHtml, value)
	c.m.Set(mapi.PidTagInternetCodepage, mapi.Integer32(page.Number))
	for _, f := range []struct {
		field string
		tag   mapi.Tag
	}{{"Content-ID", mapi.PidTagBodyContentId}, {"Content-Location", mapi.PidTagBodyContentLocation}} {
		if value := trimID(c.html.Field(f.field)); value != "" {
			c.m.Set(f.tag, mapi.String(value))
		}
	}
	return nil
}

// enrichedMost is how large a text of text/enriched may be that is read, in octets.
const enrichedMost = 1 << 20

// setEnriched sets HTML that says what text/enriched does (RFC 1896).
func (c *conversion) setEnriched() error {
	html, err := enrichedHTML(c.enriched)
	if err != nil {
		return err
	}
	c.plays(c.enriched, roleEnriched, nil)
	c.m.Set(mapi.PidTagHtml, mapi.Binary(html))
	c.m.Set(mapi.PidTagInternetCodepage, mapi.Integer32(codepage.UTF8))
	return nil
}

// enrichedHTML returns text/enriched as HTML in UTF-8.
func enrichedHTML(e *entity.Entity) ([]byte, error) {
	page, err := e.TextPage()
	if err != nil {
		return nil, err
	}
	var html bytes.Buffer
	err = htmltext.Enriched(&html, withoutNUL(e.DecodedText(page)))
	return html.Bytes(), err
}

// inHTML returns the code page in which a text of another one is kept that was not made for Windows, or in which
// ASCII is not what it is.
func inHTML(page codepage.Page) int {
	if _, known := codepage.Find(page.Number); !known || !page.HasASCII() {
		return codepage.UTF8
	}
	return page.Number
}

// inMemory is how large a body may be that is kept in memory, in octets.
const inMemory = 64 << 10

// textValue returns a text, in memory if it is short.
func textValue(open func() (io.Reader, error)) (mapi.Value, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, inMemory+1))
	if err != nil {
		return nil, err
	}
	if len(text) <= inMemory {
		return mapi.String(text), nil
	}
	content, err := measured(func() (io.Reader, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		return transform.NewReader(r, unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder()), nil
	})
	return mapi.Streamed{Of: mapi.PtypString, Content: content}, err
}

// bytesValue returns octets, in memory if they are few.
func bytesValue(content mapi.Content) (mapi.Value, error) {
	if content.Size > inMemory {
		return mapi.Streamed{Of: mapi.PtypBinary, Content: content}, nil
	}
	r, err := content.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	octets, err := io.ReadAll(r)
	return mapi.Binary(octets), err
}

// measured returns what can be read from as a content: it is read once to know its size.
func measured(open func() (io.Reader, error)) (mapi.Content, error) {
	r, err := open()
	if err != nil {
		return mapi.Content{}, err
	}
	size, err := io.Copy(io.Discard, r)
	return mapi.Content{Size: size, Open: func() (io.ReadCloser, error) {
		r, err := open()
		return io.NopCloser(r), err
	}}, err
}

// contentOf returns a part's body without its transfer encoding.
func contentOf(e *entity.Entity) (mapi.Content, error) {
	if e.Encoding == "" {
		raw := e.Raw()
		return mapi.Section(raw, 0, raw.Size()), nil
	}
	return measured(func() (io.Reader, error) { return e.Decoded(), nil })
}

// withoutNUL leaves the NULs of a text out: a PtypString ends at the first one (MS-OXCDATA §2.11.1).
func withoutNUL(r io.Reader) io.Reader { return nulFilter{r} }

type nulFilter struct{ r io.Reader }

// Read reads what is no NUL.
func (f nulFilter) Read(p []byte) (int, error) {
	for {
		n, err := f.r.Read(p)
		if bytes.IndexByte(p[:n], 0) < 0 {
			return n, err
		}
		if rest := bytes.ReplaceAll(p[:n], []byte{0}, nil); len(rest) > 0 || err != nil {
			return copy(p, rest), err
		}
	}
}

// inline marks the attachments that the text shows, MS-OXCMAIL §2.2.3.4.1.4.1.
func (c *conversion) inline(*entity.Entity) error {
	if c.html == nil || len(c.related) == 0 {
		return nil
	}
	found := &references{ids: map[string]bool{}}
	if _, err := io.Copy(found, c.html.Decoded()); err != nil {
		return err
	}
	for _, a := range c.related {
		picture := strings.HasPrefix(a.Text(mapi.PidTagAttachMimeTag), "image/")
		id := a.Text(mapi.PidTagAttachContentId)
		named := id != "" && found.ids[id]
		if named || a.Has(mapi.PidTagAttachContentLocation) && picture {
			a.Set(mapi.PidTagAttachFlags, mapi.Integer32(attachRenderedInBody))
		}
		if named && picture { // it needs no place beside the text, too: MS-OXCMSG §2.2.2.24
			a.Set(mapi.PidTagAttachmentHidden, mapi.Boolean(true))
		}
	}
	return nil
}

// attachRenderedInBody is the bit of PidTagAttachFlags for what the text shows, MS-OXCMSG §2.2.2.18.
const attachRenderedInBody = 0x4

// referencesMost is how many references of a text count.
const referencesMost = 10_000

// references collects the Content-IDs that the HTML written to it refers to, by cid: URLs (RFC 2392).
type references struct {
	ids     map[string]bool
	seen    []byte // of "cid:"
	reading bool   // what is behind it
	id      []byte
}

const (
	cidScheme = "cid:"
	cidMost   = 300
)

// Write looks at a piece. The end of a text ends no reference: in HTML there is a tag around it.
func (r *references) Write(p []byte) (int, error) {
	for _, c := range p {
		if r.reading {
			r.read(c)
			continue
		}
		r.seen = append(r.seen, c|0x20) // in lower case; a colon stays one
		if !strings.HasPrefix(cidScheme, string(r.seen)) {
			r.seen = append(r.seen[:0], c|0x20)
			if c|0x20 != cidScheme[0] {
				r.seen = r.seen[:0]
			}
		}
		r.reading = len(r.seen) == len(cidScheme)
	}
	return len(p), nil
}

// read takes a character of a Content-ID.
func (r *references) read(c byte) {
	if c > ' ' && !strings.ContainsRune("\"'<>)", rune(c)) && len(r.id) < cidMost {
		r.id = append(r.id, c)
		return
	}
	id := string(r.id)
	if unescaped, err := url.PathUnescape(id); err == nil {
		id = unescaped
	}
	if len(r.ids) < referencesMost {
		r.ids[id] = true
	}
	r.id, r.seen, r.reading = r.id[:0], r.seen[:0], false
}
