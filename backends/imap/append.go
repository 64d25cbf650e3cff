package imap

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

// has says whether a folder has a message with this header field. The folder is not selected any
// more afterwards: QUIRK, a server may refuse an APPEND to the one that is selected for reading
// alone.
func has(conn *connection, folder, field, value string) (bool, error) {
	if _, err := conn.open(folder, true); err != nil {
		return false, err
	}
	found, err := conn.client.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: field, Value: value}}}, nil).Wait()
	if err != nil {
		return false, err
	}
	set, _ := found.All.(imap.UIDSet)
	return len(set) > 0, conn.deselect()
}

// append adds a message to a folder (RFC 9051 §6.3.12).
func (s *Store) append(ctx context.Context, conn *connection, folder string, message io.Reader, size int64, flags []imap.Flag) error {
	_, err := call(ctx, conn.client, func() (*imap.AppendData, error) {
		command := conn.client.Append(folder, size, &imap.AppendOptions{Flags: flags})
		if _, err := io.Copy(command, message); err != nil {
			conn.client.end(err) // half a literal cannot be taken back otherwise
			_ = command.Close()  // or the lock for sending stays, and what the library asks beside waits for ever
			_, _ = command.Wait()
			return nil, err
		}
		if err := command.Close(); err != nil {
			return nil, err
		}
		return command.Wait()
	})
	return refusedContent(failure("append to "+folder, err, backends.Temporary))
}

// refusedContent makes a refusal of what the message is a permanent one: it will be the same
// tomorrow. A refusal that gives another reason stays what it is.
func refusedContent(err error) error {
	var status *imap.Error
	f := backends.AsFailure(err)
	if f == nil || f.Kind != backends.Temporary || !errors.As(err, &status) {
		return err
	}
	text := strings.ToLower(status.Text)
	switch {
	case status.Type == imap.StatusResponseTypeBye, status.Code != "" && status.Code != "ALERT" && status.Code != "PARSE" && status.Code != "CLIENTBUG":
		return err
	case status.Type == imap.StatusResponseTypeBad && !speaksOf(text, otherReasons), speaksOf(text, contentReasons):
		return backends.Fail(backends.Permanent, "%w", err).WithCode("5.6.0").Say("the mail store refuses what this message contains")
	}
	return err
}

// otherReasons are words of a BAD that is not about the message.
var otherReasons = []string{
	"mailbox", "folder", "throttl", "too many", "back off", "backoff", "timeout", "timed out", "unavailable", "try again", "internal",
	"not authenticated", "invalid state", "server error", "disk", "quota",
}

// contentReasons are words of a NO that is about the message. Cyrus: "Message contains NUL
// characters", "… bare newlines", "… non-ASCII characters in headers", "… invalid header".
var contentReasons = []string{
	"message contains", "contains nul", "nul character", "nul byte", "null byte", "null character", "bare newline", "bare lf", "bare cr",
	"invalid header", "malformed header", "header line", "non-ascii", "8-bit", "8bit", "invalid message", "malformed message", "invalid rfc",
	"invalid mime", "parse message", "parsing message", "invalid character", "virus", "line too long", "lines too long", "lines longer",
}

func speaksOf(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}
