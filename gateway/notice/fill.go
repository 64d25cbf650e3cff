package notice

import (
	"bufio"
	"io"
	"slices"
	"strconv"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
)

// Fill writes the report into a buffer, and gives the envelope that it is sent with: from the null
// reverse-path (RFC 3461 §6.1). One that its way would not take has the header of the message in the place of
// the whole of it, and in the end nothing of it.
func (r *Report) Fill(o buffer.Options) (*buffer.Buffer, backends.Envelope, error) {
	body, envelope, err := r.fill(o)
	for try := *r; err == nil && try.Original != nil && r.SizeMost > 0 && body.Size() > r.SizeMost; {
		if try.Envelope.Return == backends.ReturnFull {
			try.Envelope.Return = backends.ReturnHeaders
		} else {
			try.Original = nil
		}
		_ = body.Discard() // what stays of it is swept
		body, envelope, err = try.fill(o)
	}
	return body, envelope, err
}

func (r *Report) fill(o buffer.Options) (*buffer.Buffer, backends.Envelope, error) {
	body := buffer.Create(o)
	watch := &watched{to: body}
	out := bufio.NewWriterSize(watch, 32<<10)
	_, err := r.WriteTo(out)
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = body.Commit()
	}
	if err != nil {
		_ = body.Discard() // the first error is the one that is told
		return nil, backends.Envelope{}, err
	}
	return body, backends.Envelope{Body: backends.BodyOf(watch.eight), SMTPUTF8: watch.eight && r.Envelope.SMTPUTF8, Priority: r.Envelope.Priority}, nil
}

// listedMost is how many recipients one report is about: it has some 300 octets for each, and what their servers have
// said.
const listedMost = 1000

// Split gives the reports, in the place of one that is about more recipients than its way may take. The first one has
// the whole message, if any has, and the key; the others have keys made of it.
func (r *Report) Split() (reports []Report) {
	for outcomes := range slices.Chunk(r.Outcomes, listedMost) {
		part := *r
		part.Outcomes = outcomes
		if n := len(reports); n > 0 {
			part.Key += "-" + strconv.Itoa(n+1)
			part.Envelope.Return = backends.ReturnHeaders
		}
		reports = append(reports, part)
	}
	return reports
}

// watched sees whether what is written has octets above 127.
type watched struct {
	to    io.Writer
	eight bool
}

// Write implements [io.Writer].
func (w *watched) Write(p []byte) (int, error) {
	for _, c := range p {
		w.eight = w.eight || c >= 0x80
	}
	return w.to.Write(p)
}
