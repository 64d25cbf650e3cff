package mime

import (
	"path"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// notRendered is the PidTagRenderingPosition of an attachment that has no place in the text, MS-OXCMSG §2.2.2.16.
const notRendered = -1

// attach makes an attachment of a part, MS-OXCMAIL §2.2.3.4.1.
func (c *conversion) attach(e *entity.Entity) (*mapi.Attachment, error) {
	content, err := contentOf(e)
	if err != nil {
		return nil, err
	}
	a := &mapi.Attachment{Data: content}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	name := e.Filename()
	if name != "" {
		a.Set(mapi.PidTagAttachLongFilename, mapi.String(withoutNULs(name)))
		if extension := path.Ext(name); extension != "" {
			a.Set(mapi.PidTagAttachExtension, mapi.String(extension))
		}
	}
	if charset := e.Type.Get("charset"); charset != "" && e.Is("text/") { // MS-OXCMAIL §2.2.3.4.1
		a.Set(mapi.PidTagTextAttachmentCharset, mapi.String(charset))
	}
	c.describe(a, e, name)
	return a, nil
}

// attachmentDates are the dates of a file, in the parameters of Content-Disposition (RFC 2183 §2.4 and §2.5).
var attachmentDates = []struct {
	parameter string
	tag       mapi.Tag
}{{"creation-date", mapi.PidTagCreationTime}, {"modification-date", mapi.PidTagLastModificationTime}}

// describe sets what all kinds of attachments have, and adds it to the message.
func (c *conversion) describe(a *mapi.Attachment, e *entity.Entity, name string) {
	a.Set(mapi.PidTagAttachMimeTag, mapi.String(e.Type.Value))
	a.Set(mapi.PidTagRenderingPosition, mapi.Integer32(notRendered))
	if description := fieldText(e.Field("Content-Description")); description != "" {
		name = description
	}
	if name != "" {
		a.Set(mapi.PidTagDisplayName, mapi.String(withoutNULs(name)))
	}
	for _, id := range []struct {
		tag   mapi.Tag
		value string
	}{
		{mapi.PidTagAttachContentId, contentID(e)},
		{mapi.PidTagAttachContentLocation, withoutBlanks(e.Field("Content-Location"))},
		{mapi.PidTagAttachContentBase, withoutBlanks(e.Field("Content-Base"))},
	} { // MS-OXCMAIL §2.2.3.4.1.4
		if id.value != "" {
			a.Set(id.tag, mapi.String(id.value))
		}
	}
	for _, d := range attachmentDates { // MS-OXCMAIL §2.2.3.4.1
		if at, ok := entity.ParseDate(e.Disposition.Get(d.parameter)); ok {
			a.Set(d.tag, mapi.NewTime(at))
		}
	}
	c.m.Attachments = append(c.m.Attachments, a)
	if a.Embedded != nil {
		c.plays(e, roleMessage, a)
		return
	}
	c.plays(e, roleAttachment, a)
}

// embed makes an attachment of a message in a message, MS-OXCMAIL §2.2.3.4.
func (c *conversion) embed(e *entity.Entity) error {
	if c.left.messages--; c.left.messages < 0 {
		_, err := c.attach(e)
		return err
	}
	inner := Reader{TNEF: c.TNEF, Skeleton: c.Skeleton, UUEncode: c.UUEncode, left: c.left}
	embedded, err := inner.convert(e.Message)
	if err != nil {
		return err
	}
	a := &mapi.Attachment{Embedded: embedded}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	c.describe(a, e, embedded.Text(mapi.PidTagSubject))
	return nil
}

// openTNEF opens the parts of TNEF.
func (c *conversion) openTNEF(*entity.Entity) error {
	for _, e := range c.tnef {
		content, err := contentOf(e)
		if err != nil {
			return err
		}
		if c.TNEF(c.m, content) == nil {
			c.opened = true
			continue
		}
		if _, err := c.attach(e); err != nil {
			return err
		}
	}
	return nil
}

// IsTNEF says whether a part is TNEF by its type (MS-OXTNEF §1.3), or by its name where its type says nothing.
func IsTNEF(e *entity.Entity) bool {
	if e.Is("application/octet-stream") && strings.EqualFold(e.Filename(), "winmail.dat") {
		return true
	}
	return e.Is("application/ms-tnef") || e.Is("application/vnd.ms-tnef")
}

// contentID returns the Content-ID of a part without its brackets.
func contentID(e *entity.Entity) string { return trimID(e.Field("Content-ID")) }

func trimID(value string) string {
	return strings.TrimSuffix(strings.TrimPrefix(withoutBlanks(value), "<"), ">")
}

// withoutBlanks returns a value that may be folded anywhere (RFC 2557 §4.4.1).
func withoutBlanks(value string) string {
	return withoutNULs(strings.Join(strings.Fields(entity.Text(value)), ""))
}

// fieldText returns a field's text, decoded.
func fieldText(value string) string { return withoutNULs(entity.DecodeWords(entity.Text(value))) }

func withoutNULs(text string) string { return strings.ReplaceAll(text, "\x00", "") }
