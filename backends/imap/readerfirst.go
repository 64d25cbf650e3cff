package imap

import (
	"net"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
)

// readerPatience is how long a failed Write waits for the library's reading goroutine to end.
const readerPatience = 3 * time.Second

// newClient has the library speak on a connection.
func newClient(w *wire) *client {
	conn := &readerFirst{Conn: w, made: make(chan struct{})}
	c := &client{Client: imapclient.New(conn, &imapclient.Options{}), wire: w}
	conn.readerEnded = c.Closed()
	close(conn.made)
	return c
}

// readerFirst is a connection whose failed Write closes it and returns once the library's reading
// goroutine has ended.
//
// QUIRK: where a command cannot be written, go-imap closes the channels of all commands under way, in
// the goroutine that writes. If the reading goroutine is then sending the answer to one of them, it
// panics. On the closed connection that goroutine handles what it has read, and ends them itself.
//
// The wait is bounded: the reading goroutine may be held up by the very command that is being written.
type readerFirst struct {
	net.Conn
	made        chan struct{}   // closed when readerEnded is set: the library may write before it is
	readerEnded <-chan struct{} // closed when the reading goroutine has ended
}

func (c *readerFirst) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Close() // ends the reading goroutine
		c.awaitReader()
	}
	return n, err
}

func (c *readerFirst) awaitReader() {
	<-c.made
	timer := time.NewTimer(readerPatience)
	defer timer.Stop()
	select {
	case <-c.readerEnded:
	case <-timer.C:
	}
}
