package pop3client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Message is a line of a maildrop's list.
type Message struct {
	Number int
	// Size in octets as the server says; it may lie. -1: it does not say.
	Size int64
	// UID is the unique-id (RFC 1939 §7). Empty: the server has none, or none that can be one.
	UID string
}

// uidMost is how long a unique-id may be. RFC 1939 §7 has 70 characters, and servers have more.
const uidMost = 255

// List gives the messages of the maildrop, in their order. One that has more than most of them is an error.
func (c *Client) List(ctx context.Context, most int) ([]Message, error) {
	defer c.during(ctx)()
	var list []Message
	at := make(map[int]int)
	err := c.lines(most, func(line string) error {
		number, rest, err := numbered("LIST", line)
		if err != nil {
			return err
		}
		if _, twice := at[number]; twice {
			return &ProtocolError{fmt.Sprintf("LIST has message %d twice", number)}
		}
		size, err := strconv.ParseInt(strings.TrimSpace(first(rest)), 10, 64)
		if err != nil || size < 0 {
			size = -1
		}
		at[number] = len(list)
		list = append(list, Message{Number: number, Size: size})
		return nil
	}, "LIST")
	if err != nil {
		return nil, err
	}
	err = c.lines(most, func(line string) error {
		number, rest, err := numbered("UIDL", line)
		if err != nil {
			return err
		}
		if i, there := at[number]; there && validUID(rest) { // others may have come since
			list[i].UID = rest
		}
		return nil
	}, "UIDL")
	if refused := (*ReplyError)(nil); errors.As(err, &refused) {
		return list, nil // it has no UIDL, which is optional
	}
	return list, err
}

// numbered reads the message's number at the beginning of a line.
func numbered(command, line string) (number int, rest string, err error) {
	line = strings.TrimLeft(line, " \t")
	text, rest, _ := strings.Cut(line, " ")
	number, err = strconv.Atoi(text)
	if err != nil || number < 1 {
		return 0, "", &ProtocolError{fmt.Sprintf("%s has the line %q", command, safe(line))}
	}
	return number, strings.Trim(rest, " \t"), nil
}

func first(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

func validUID(uid string) bool {
	return uid != "" && len(uid) <= uidMost && !strings.ContainsFunc(uid, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Retrieve writes a message to w (RFC 1939 §5, RETR), without dot-stuffing and terminator, and says how many octets it
// has. Lines end as the server has them. An error of w ends the connection, too.
func (c *Client) Retrieve(ctx context.Context, number int, most int64, w io.Writer) (int64, error) {
	defer c.during(ctx)()
	if _, err := c.command("RETR %d", number); err != nil {
		return 0, err
	}
	return c.content(most, w)
}

// Top writes the header and so many lines of the body to w (RFC 1939 §7, TOP). Not every server has it.
func (c *Client) Top(ctx context.Context, number, lines int, most int64, w io.Writer) (int64, error) {
	defer c.during(ctx)()
	if _, err := c.command("TOP %d %d", number, lines); err != nil {
		return 0, err
	}
	return c.content(most, w)
}

func (c *Client) content(most int64, w io.Writer) (int64, error) {
	octets, err := unstuff(w, c.in, most, c.loose)
	if err != nil {
		return octets, c.breaks(err)
	}
	return octets, nil
}

// Delete marks a message (RFC 1939 §5, DELE). It goes with Quit.
func (c *Client) Delete(ctx context.Context, number int) error {
	defer c.during(ctx)()
	_, err := c.command("DELE %d", number)
	return err
}

// unstuff copies a content up to its terminator (RFC 1939 §3). Lines end with CRLF, and neither CR nor LF alone ends one:
// what a server passes on that has them does not end the message. loose is for a server that ends lines with LF.
func unstuff(w io.Writer, in *bufio.Reader, most int64, loose bool) (octets int64, err error) {
	lineStart, afterCR := true, false
	for {
		piece, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return octets, err
		}
		if lineStart && piece[0] == '.' {
			rest := piece[1:]
			if string(rest) == "\r\n" || loose && string(rest) == "\n" {
				return octets, nil
			}
			piece = rest
		}
		if octets += int64(len(piece)); octets > most {
			return octets, ErrTooLarge
		}
		lineStart = bytes.HasSuffix(piece, []byte("\r\n")) || bytes.HasSuffix(piece, []byte("\n")) && (loose || afterCR && len(piece) == 1)
		afterCR = bytes.HasSuffix(piece, []byte("\r")) // at the end of a full buffer
		if _, err := w.Write(piece); err != nil {
			return octets, err
		}
	}
}
