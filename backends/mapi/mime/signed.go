package mime

import (
	"bytes"
	"io"
	"path"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
)

// classSigned is the class of a clear-signed message, MS-OXOSMIME §2.1.1.
const classSigned = "IPM.Note.SMIME.MultipartSigned"

// signedName is how the one attachment of a signed message is called, MS-OXOSMIME.
const signedName = "SMIME.p7m"

// signed keeps a clear-signed message whole: its MIME entity is the one attachment. Its text is that of the
// part that is signed. MS-OXOSMIME.
func (c *conversion) signed(e *entity.Entity) error {
	text := &conversion{Reader: Reader{left: c.left}, m: &mapi.Message{}, open: true}
	if err := text.walk(e.Parts[0]); err != nil {
		return err
	}
	c.plain, c.html = text.plain, text.html
	c.m.Set(mapi.PidTagMessageClass, mapi.String(classSigned))
	a := &mapi.Attachment{Data: wholeEntity(e)}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String(signedName))
	a.Set(mapi.PidTagAttachFilename, mapi.String(signedName))
	a.Set(mapi.PidTagAttachExtension, mapi.String(path.Ext(signedName)))
	a.Set(mapi.PidTagDisplayName, mapi.String(signedName))
	a.Set(mapi.PidTagAttachMimeTag, mapi.String(e.Type.Value))
	a.Set(mapi.PidTagRenderingPosition, mapi.Integer32(notRendered))
	c.m.Attachments = append(c.m.Attachments, a)
	c.plays(e, roleSigned, a)
	return nil
}

// wholeEntity returns an entity's body with the header fields that are MIME's in front of it, each octet as it came.
func wholeEntity(e *entity.Entity) mapi.Content {
	head := contentFields(e.Header)
	body := e.Raw()
	return mapi.Content{Size: int64(len(head)) + body.Size(), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(head), io.NewSectionReader(body, 0, body.Size()))), nil
	}}
}

// contentFields returns the fields that are MIME's, and an empty line.
func contentFields(h *header.Header) []byte {
	var head []byte
	for _, f := range h.Fields {
		if strings.HasPrefix(strings.ToLower(f.Name), "content-") {
			head = append(head, f.Raw...)
		}
	}
	return append(head, "\r\n"...)
}

// isOpaque says whether a message is signed or encrypted as one entity, MS-OXOSMIME.
func isOpaque(e *entity.Entity) bool {
	return e.Is("application/pkcs7-mime") || e.Is("application/x-pkcs7-mime") ||
		e.Is("application/octet-stream") && strings.EqualFold(path.Ext(e.Filename()), ".p7m")
}

// opaque keeps the entity as the one attachment, without its transfer encoding. There is no text.
func (c *conversion) opaque(e *entity.Entity) error {
	c.m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note.SMIME"))
	a, err := c.attach(e)
	if err == nil && !a.Has(mapi.PidTagAttachLongFilename) {
		a.Set(mapi.PidTagAttachLongFilename, mapi.String("smime.p7m"))
		a.Set(mapi.PidTagAttachExtension, mapi.String(".p7m"))
	}
	return err
}
