package rtf

import (
	"errors"
	"fmt"
	"io"
)

// Picture is a picture of a document.
type Picture struct {
	Number    int    // from 1, in the order of the document
	Type      string // image/png, image/jpeg; image/emf, image/wmf and others are no pictures in HTML
	Width     int    // in pixels of 1/96 inch, 0 if it is not said
	Height    int
	Size      int64  // octets
	ContentID string // as Options.Picture gave it
}

// shown says whether readers of HTML show such pictures.
func (p Picture) shown() bool {
	return p.ContentID != "" && (p.Type == "image/png" || p.Type == "image/jpeg")
}

// pict is a picture that is being read.
type pict struct {
	Picture
	to     io.WriteCloser // nil until the first octet, or if nobody wants it
	begun  bool
	group  int  // how many groups were open where it began: its own is the last of them
	high   byte // the first digit of an octet
	halved bool
	err    error
}

// mostPictures is how many there may be: those behind are left out, and counted.
const mostPictures = 1000

// twipsPerPixel: 1,440 twips and 96 pixels are an inch.
const twipsPerPixel = 15

func pictureType(mediaType string) action {
	return func(p *parser, _ int, _ bool) {
		if p.pict != nil {
			p.pict.Type = mediaType
		}
	}
}

func pictureSize(side func(p *Picture) *int) action {
	return func(p *parser, n int, _ bool) {
		if p.pict != nil {
			*side(&p.pict.Picture) = min(max(n, 0), 1<<20) / twipsPerPixel
		}
	}
}

// pictureText takes hexadecimal digits. What is none of them is passed over.
func (p *parser) pictureText(text []byte) {
	octets := make([]byte, 0, len(text)/2+1)
	for _, c := range text {
		digit, ok := hexDigit(c)
		switch {
		case !ok:
		case p.pict.halved:
			octets = append(octets, p.pict.high<<4|digit)
			p.pict.halved = false
		default:
			p.pict.high, p.pict.halved = digit, true
		}
	}
	_, _ = pictureWriter{p}.Write(octets)
}

// data is what follows \binN: a picture's octets, or nothing that is kept.
func (p *parser) data(n int) error {
	if p.standIns > 0 { // all of it counts as one character
		p.standIns--
	} else if p.state.to == inPicture {
		return p.cutOff(p.in.binary(pictureWriter{p}, n))
	}
	return p.cutOff(p.in.binary(io.Discard, n))
}

// pictureWriter takes octets of the picture that is being read. The first ones have it given to whoever wants it.
type pictureWriter struct{ *parser }

func (p pictureWriter) Write(octets []byte) (int, error) {
	if len(octets) == 0 {
		return 0, nil
	}
	if !p.pict.begun {
		p.beginPicture()
	}
	p.pict.Size += int64(len(octets))
	if p.pict.to != nil && p.pict.err == nil {
		_, p.pict.err = p.pict.to.Write(octets)
	}
	return len(octets), nil
}

func (p *parser) beginPicture() {
	p.pict.begun = true
	p.report.PictureCount++
	p.pict.Number = p.report.PictureCount
	if p.pict.Type == "" {
		p.pict.Type = "application/octet-stream"
	}
	if p.options.Picture != nil && p.pict.Number <= mostPictures {
		p.pict.ContentID, p.pict.to, p.pict.err = p.options.Picture(p.pict.Picture)
	}
}

// endPicture shows the picture where its group ends. That a picture cannot be kept ends the document.
func (p *parser) endPicture() {
	done := p.pict
	p.pict = nil
	if done == nil || !done.begun {
		return
	}
	if done.to != nil {
		done.err = errors.Join(done.err, done.to.Close())
	}
	if done.err != nil {
		p.out.fail(fmt.Errorf("rtf: keeping picture %d: %w", done.Number, done.err))
		return
	}
	if len(p.report.Pictures) < mostPictures {
		p.report.Pictures = append(p.report.Pictures, done.Picture)
	}
	p.sink.picture(done.Picture, &p.state)
}

// secondPicture is \nonshppict: the picture of the \*\shppict before it, for old readers.
func (p *parser) secondPicture(int, bool) {
	if p.hasPicture {
		p.skipping = 1
	}
	p.hasPicture = false
}

// Attachment is what stands in the place of an attachment.
type Attachment struct {
	Name      string // shown in its place, if it is no picture
	ContentID string // of a picture
}

// attachment is \objattph: here an attachment of the message is shown, the next one in the order of
// PidTagRenderingPosition. MS-OXRTFEX §2.2.3.4; what it replaces is a blank behind it.
func (p *parser) attachment(int, bool) {
	p.placeholder = true
	if p.hidden() || p.state.to == inHTMLTag {
		return
	}
	n := p.report.Attachments
	p.report.Attachments++
	if p.options.Attachment != nil {
		p.sink.attachment(p.options.Attachment(n), &p.state)
	}
}
