package mime

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/msg"
	"github.com/dipylon/dipylon/backends/mapi/rtf"
)

// objectMost is how large an OLE object is that is opened, in octets: it is in memory while it is read. Larger ones go out as they are.
const objectMost = 8 << 20

// shownOf returns what stands for an OLE object (MS-OXCMAIL §2.1.3.4): the file that it has in it in its place, and beside it a picture
// of what it looks like. Other attachments, and objects that show nothing, stand for themselves.
func shownOf(a *mapi.Attachment) []*mapi.Attachment {
	method, _ := a.Integer(mapi.PidTagAttachMethod)
	if method != int64(mapi.AttachOLE) || a.Data.IsZero() || a.Embedded != nil {
		return []*mapi.Attachment{a}
	}
	o, err := readObject(a)
	if err != nil {
		return []*mapi.Attachment{a} // an error of reading comes again
	}
	shown := &mapi.Attachment{Data: mapi.Content{Size: int64(len(o.Data)), Open: func() (io.ReadCloser, error) {
		again, err := readObject(a) // there may be many
		return io.NopCloser(bytes.NewReader(again.Data)), err
	}}}
	shown.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	name := o.Name
	if o.Type != "" {
		shown.Set(mapi.PidTagAttachMimeTag, mapi.String(o.Type))
		name = pictureName(filename(a), o.Type)
	}
	shown.Set(mapi.PidTagAttachLongFilename, mapi.String(withoutNULs(name)))
	if o.Whole {
		return []*mapi.Attachment{shown}
	}
	return []*mapi.Attachment{shown, a}
}

// pictureName returns the name of a file for a picture of something.
func pictureName(of, mediaType string) string {
	if of == "" {
		of = "picture"
	}
	return of + "." + strings.TrimPrefix(mediaType, "image/")
}

var errLargeObject = errors.New("the OLE object is too large to be opened")

// readObject reads what can be seen of an OLE object.
func readObject(a *mapi.Attachment) (msg.Object, error) {
	r, err := a.Data.Open()
	if err != nil {
		return msg.Object{}, err
	}
	defer r.Close()
	octets, err := io.ReadAll(io.LimitReader(r, objectMost+1))
	if err != nil {
		return msg.Object{}, err
	}
	if len(octets) > objectMost {
		return msg.Object{}, errLargeObject
	}
	return msg.ReadObject(bytes.NewReader(octets), int64(len(octets)))
}

// Bounds of the pictures of the RTF of one object, and of the octets of those of all objects in a message, which are in memory. Where
// there are more the RTF is attached, too.
const (
	picturesMost      = 100
	pictureOctetsMost = 8 << 20
)

// pictures takes the pictures out of RTF: each is an attachment that the HTML refers to where mail programs show it.
type pictures struct {
	planner *planner
}

// picture implements [rtf.Options].Picture when the message is planned.
func (c *pictures) picture(picture rtf.Picture) (string, io.WriteCloser, error) {
	if len(c.planner.pictures) == picturesMost {
		c.planner.unshown = true
		return "", nil, nil
	}
	return "planned@rtf", &pictureWriter{pictures: c, picture: picture}, nil
}

// pictureWriter has the octets of a picture. One for which there is no room is left out.
type pictureWriter struct {
	*pictures
	picture rtf.Picture
	octets  []byte
	leftOut bool
}

// Write implements [io.Writer].
func (w *pictureWriter) Write(octets []byte) (int, error) {
	held := &w.planner.shared.pictures
	switch {
	case w.leftOut:
	case *held+len(octets) > pictureOctetsMost:
		*held -= len(w.octets)
		w.octets, w.leftOut, w.planner.unshown = nil, true, true
	default:
		*held += len(octets)
		w.octets = append(w.octets, octets...)
	}
	return len(octets), nil
}

// Close implements [io.Closer].
func (w *pictureWriter) Close() error {
	if w.leftOut {
		return nil
	}
	n := w.picture.Number
	sum := sha256.Sum256(w.octets)
	a := &mapi.Attachment{Data: mapi.ContentOf(w.octets)}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String(pictureName(fmt.Sprintf("image%03d", n), w.picture.Type)))
	a.Set(mapi.PidTagAttachMimeTag, mapi.String(w.picture.Type))
	a.Set(mapi.PidTagAttachContentId, mapi.String(fmt.Sprintf("image%03d.%s@rtf", n, hex.EncodeToString(sum[:8]))))
	a.Set(mapi.PidTagAttachFlags, mapi.Integer32(attachRenderedInBody))
	w.planner.pictures = append(w.planner.pictures, a)
	w.planner.pictureIDs[n] = a.Text(mapi.PidTagAttachContentId)
	return nil
}

// planPictures finds out which pictures an RTF has, when the message is planned.
func (p *planner) planPictures() error {
	if p.pictureIDs != nil {
		return nil
	}
	p.pictureIDs = map[int]string{}
	c := &pictures{planner: p}
	d, closing, err := p.openRTFWith(rtf.Options{Picture: c.picture})
	if err != nil {
		return p.readRTF(err)
	}
	defer closing.Close()
	_, err = d.WriteHTML(io.Discard)
	return p.readRTF(err)
}

// knownPicture implements [rtf.Options].Picture when the HTML is written: pictures have the Content-IDs that were planned.
func (p *planner) knownPicture(picture rtf.Picture) (string, io.WriteCloser, error) {
	return p.pictureIDs[picture.Number], nil, nil
}

// files returns the attachments, what stands for OLE objects, and what was found in RTF.
func (p *planner) files() []*mapi.Attachment {
	var all []*mapi.Attachment
	for _, a := range p.m.Attachments {
		all = append(all, shownOf(a)...)
	}
	all = append(all, p.pictures...)
	switch {
	case p.damaged:
		all = append(all, p.damagedRTF())
	case p.unshown:
		all = append(all, p.wholeRTF())
	}
	return all
}
