package mime

import (
	"bufio"
	"cmp"
	"io"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Part is a MIME entity that is going to be written (RFC 2045 §2.4).
type Part struct{ root *part }

// Parts returns what a message object is in Internet mail but for its header: the body with what that shows, nil without
// one, and the attachments. It is for what becomes a part of another message: its skeleton is not looked at. Messages in it are as
// they came if the Writer has them Kept.
func (w Writer) Parts(m *mapi.Message) (body *Part, attached []*Part, err error) {
	shared := &planning{anew: !w.Kept, skeletons: skeletonMost, planned: map[*mapi.Message]*part{}}
	root, files, err := (&planner{Writer: w, m: m, shared: shared}).parts()
	if err != nil {
		return nil, nil, err
	}
	if shared.skeletons < skeletonMost {
		whole := &part{subtype: "mixed", parts: files}
		if root != nil {
			whole.parts = append([]*part{root}, files...)
		}
		whole.identify()
		broken, err := collides(whole)
		if err == nil && broken {
			w.Kept = false
			return w.Parts(m)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if root != nil {
		body = &Part{root}
	}
	for _, file := range files {
		attached = append(attached, &Part{file})
	}
	return body, attached, nil
}

// Verbatim returns an entity that is there already, with its header. It is written octet by octet.
func Verbatim(whole mapi.Content) (*Part, error) {
	content := copying(whole.Open)
	sum, err := sumOf(content)
	if err != nil {
		return nil, err
	}
	root := leaf(content, nil, "", sum)
	root.raw = true
	return &Part{root}, nil
}

// Multipart returns an entity of others, of a type such as "mixed". Of one alone it returns that, and the parts of one
// that is of the type already are its own.
func Multipart(subtype string, parts ...*Part) *Part {
	if len(parts) == 1 {
		return parts[0]
	}
	root := &part{subtype: subtype}
	for _, p := range parts {
		if p.root.subtype == subtype && p.root.fields == nil && p.root.extra == "" {
			root.parts = append(root.parts, p.root.parts...)
		} else {
			root.parts = append(root.parts, p.root)
		}
	}
	return &Part{root}
}

// Write writes the entity with its header, once. The same parts give the same octets each time.
func (p *Part) Write(out io.Writer) error {
	p.root.identify()
	buffered := bufio.NewWriter(out) // what is written comes in pieces as short as a line end
	o := &output{w: buffered}
	p.root.write(o)
	return cmp.Or(o.err, buffered.Flush())
}
