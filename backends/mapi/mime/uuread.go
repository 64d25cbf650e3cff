package mime

import (
	"bufio"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// Bounds of files in a text.
const (
	uuFilesMost = 1000
	uuLineMost  = 1000 // octets of a line that is looked at
)

// uuFile is a file in UUENCODE in a text: from the line "begin" to the line "end".
type uuFile struct {
	name        string
	from, to    int64 // with the empty line in front, which a Writer makes
	begin, stop int64
}

// openUUEncode makes attachments of the files that stand in the text. A text in a transfer encoding is left as it is: nobody puts
// such files into one.
func (c *conversion) openUUEncode() error {
	if !c.UUEncode || c.plain == nil || c.plain.Encoding != "" || c.plain.Is("multipart/") {
		return nil
	}
	raw := c.plain.Raw()
	files, err := findUUFiles(raw)
	if err != nil || len(files) == 0 {
		return err
	}
	c.opened = true
	at := int64(0)
	for _, f := range files {
		c.text = append(c.text, io.NewSectionReader(raw, at, f.from-at))
		at = f.to
		if err := c.attachUUFile(f, io.NewSectionReader(raw, f.begin, f.stop-f.begin)); err != nil {
			return err
		}
	}
	c.text = append(c.text, io.NewSectionReader(raw, at, raw.Size()-at))
	return nil
}

// attachUUFile makes an attachment of a file.
func (c *conversion) attachUUFile(f uuFile, encoded *io.SectionReader) error {
	content, err := measured(func() (io.Reader, error) {
		return entity.DecodeUU(io.NewSectionReader(encoded, 0, encoded.Size())), nil
	})
	if err != nil {
		return err
	}
	a := &mapi.Attachment{Data: content}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagRenderingPosition, mapi.Integer32(notRendered))
	if name := withoutNULs(entity.Text(f.name)); name != "" {
		a.Set(mapi.PidTagAttachLongFilename, mapi.String(name))
		a.Set(mapi.PidTagDisplayName, mapi.String(name))
		if extension := path.Ext(name); extension != "" {
			a.Set(mapi.PidTagAttachExtension, mapi.String(extension))
		}
	}
	a.Set(mapi.PidTagAttachMimeTag, mapi.String(mediaTypeOf(a)))
	c.m.Attachments = append(c.m.Attachments, a)
	return nil
}

// plainOctets is the text without the files in it.
func (c *conversion) plainOctets() io.Reader {
	if c.text == nil {
		return c.plain.Decoded()
	}
	readers := make([]io.Reader, 0, len(c.text))
	for _, piece := range c.text {
		readers = append(readers, io.NewSectionReader(piece, 0, piece.Size()))
	}
	return io.MultiReader(readers...)
}

// findUUFiles looks for files in a text. What is not a file to its end is text.
func findUUFiles(r *io.SectionReader) (files []uuFile, err error) {
	lines := bufio.NewReaderSize(io.NewSectionReader(r, 0, r.Size()), uuLineMost)
	var file *uuFile
	empty := int64(-1) // where the line before starts, if there is nothing on it
	last := false      // the line of no octets was read
	for at := int64(0); len(files) < uuFilesMost; {
		line, size, err := uuTextLine(lines)
		if err != nil {
			return nil, err
		}
		if size == 0 {
			break
		}
		start := at
		at += size
		switch {
		case file != nil && last && line == "end":
			file.to, file.stop = at, at
			files, file = append(files, *file), nil
		case file != nil && !last && isUULine(line):
			last = line[0] == '`' || line[0] == ' '
		default:
			file = beginUUFile(line, start, empty)
			last = false
		}
		empty = -1
		if line == "" {
			empty = start
		}
	}
	return files, nil
}

// uuTextLine reads a line. Of one that is too long none of this package's is left: it is returned as one that is no file's.
func uuTextLine(r *bufio.Reader) (line string, size int64, err error) {
	for {
		piece, err := r.ReadSlice('\n')
		size += int64(len(piece))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			line = "too long"
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return "", 0, err
		case line == "":
			line = strings.TrimRight(string(piece), "\r\n")
		}
		return line, size, nil
	}
}

// beginUUFile reads the line that a file begins with, nil if it is another one.
func beginUUFile(line string, start, empty int64) *uuFile {
	rest, is := strings.CutPrefix(line, "begin ")
	mode, name, named := strings.Cut(rest, " ")
	if !is || !named || len(mode) < 3 || len(mode) > 4 || strings.Trim(mode, "01234567") != "" {
		return nil
	}
	f := &uuFile{name: strings.TrimSpace(name), from: start, begin: start}
	if empty >= 0 {
		f.from = empty
	}
	return f
}

// isUULine says whether a line is one of a file: it says itself how many octets it has. Blanks at its end may be lost,
// and a sum may follow.
func isUULine(line string) bool {
	if line == "" || line[0] < ' ' || line[0] > '`' {
		return false
	}
	octets := int(line[0]-' ') & 63
	characters := (octets + 2) / 3 * 4
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '`' }) {
		return false
	}
	return len(line)-1 <= characters+2 && (len(line)-1 >= characters-3 || strings.HasSuffix(line, " ") || octets == 0)
}
