package remote

import (
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
)

// Keep buffers a message that is sent more than once, if it is large in a file of dir. A content that
// fails is not kept: its failure is returned, as a temporary one where it has no kind.
func Keep(dir string, content io.Reader) (*buffer.Buffer, error) {
	b, err := buffer.Fill(buffer.InFolder(dir), content)
	if known := (*backends.Failure)(nil); err != nil && !errors.As(err, &known) {
		err = backends.Fail(backends.Temporary, "keep a message: %w", err)
	}
	return b, err
}
