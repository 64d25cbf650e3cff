package mime

import (
	"io"
	"path"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// binHexType is the media type of BinHex, RFC 1741 §3.
const binHexType = "application/mac-binhex40"

// macRoman is the code page of names in BinHex.
const macRoman = 10000

// resourcesMost is how large a resource fork is that is kept, in octets. A file with a larger one stays as it came.
const resourcesMost = 1 << 20

// macTypes are the media types of files by what a Macintosh calls them, where their names do not say it.
var macTypes = map[string]string{
	"TEXT": "text/plain", "ttro": "text/plain", "GIFf": "image/gif", "JPEG": "image/jpeg", "PNGf": "image/png", "TIFF": "image/tiff", "PDF ": "application/pdf",
	"W6BN": "application/msword", "W8BN": "application/msword", "WDBN": "application/msword", "XLS8": "application/vnd.ms-excel", "RTF ": "application/rtf",
}

// attachBinHex makes an attachment of the file in a part of BinHex: its data, with its name and type, and its resources in
// PidNameAttachmentMacInfo (MS-OXCMAIL §2.2.3.4.1). One that is damaged stays as it came.
func (c *conversion) attachBinHex(e *entity.Entity) error {
	b, content, resources, err := readBinHex(e)
	if err != nil {
		_, err := c.attach(e) // errors of reading come again
		return err
	}
	name := b.Name
	if page, known := codepage.Find(macRoman); known {
		if decoded, err := page.Encoding.NewDecoder().String(name); err == nil {
			name = decoded
		}
	}
	name = withoutNULs(name)
	a := &mapi.Attachment{Data: content}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String(name))
	if extension := path.Ext(name); extension != "" {
		a.Set(mapi.PidTagAttachExtension, mapi.String(extension))
	}
	c.describe(a, e, name)
	mediaType := mediaTypes[strings.ToLower(path.Ext(name))]
	if mediaType == "" {
		mediaType = macTypes[b.Type]
	}
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	a.Set(mapi.PidTagAttachMimeTag, mapi.String(mediaType))
	a.Set(mapi.PidNameAttachmentMacContentType, mapi.String(mediaType))
	if len(resources) > 0 {
		a.Set(mapi.PidNameAttachmentMacInfo, mapi.Binary(resources))
	}
	c.opened = true
	return nil
}

// readBinHex reads a file whole, to know that it is not damaged.
func readBinHex(e *entity.Entity) (b *entity.BinHex, content mapi.Content, resources []byte, err error) {
	if b, err = entity.OpenBinHex(e.Decoded()); err != nil {
		return nil, content, nil, err
	}
	if content.Size, err = io.Copy(io.Discard, b); err != nil {
		return nil, content, nil, err
	}
	content.Open = func() (io.ReadCloser, error) {
		again, err := entity.OpenBinHex(e.Decoded())
		if err != nil {
			return nil, err
		}
		return io.NopCloser(again), nil
	}
	resources, err = b.Resources(resourcesMost)
	return b, content, resources, err
}
