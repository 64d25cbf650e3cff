package notice

import (
	"bufio"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
)

// Fill writes the report into a buffer, and gives the envelope that it is sent with: from the null
// reverse-path (RFC 3461 §6.1).
func (r *Report) Fill(o buffer.Options) (*buffer.Buffer, backends.Envelope, error) {
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
