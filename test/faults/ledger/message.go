//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// compose is a message of about so many octets that says what it is, so that whoever finds a copy can tell
// whether it is whole.
func compose(id, from string, to []string, size int) []byte {
	line := "message " + id + " is here, all of it, or it is lost\r\n"
	body := strings.Repeat(line, max(1, size/len(line)))
	return fmt.Appendf(nil, "From: <%s>\r\nTo: %s\r\nSubject: ledger %s\r\nDate: %s\r\nMessage-ID: <%s@ledger.example>\r\n"+
		"X-Ledger: %s\r\nX-Ledger-Sum: %s\r\n\r\n%s",
		from, strings.Join(to, ", "), id, time.Now().Format(time.RFC1123Z), id, id, sum([]byte(body)), body)
}

// sum is a body's, whatever its line ends.
func sum(body []byte) string {
	s := sha256.Sum256(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
	return hex.EncodeToString(s[:])
}

var (
	idField  = regexp.MustCompile(`(?m)^X-Ledger: (\S+)\r?$`)
	sumField = regexp.MustCompile(`(?m)^X-Ledger-Sum: ([0-9a-f]{64})\r?$`)
)

// inspect says which message a copy is of, and whether it is whole. Servers may have put fields in front.
func inspect(content []byte) (id string, whole bool) {
	content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
	header, body, _ := bytes.Cut(content, []byte("\n\n"))
	if found := idField.FindSubmatch(header); found != nil {
		id = string(found[1])
	}
	wanted := sumField.FindSubmatch(header)
	return id, wanted != nil && string(wanted[1]) == sum(body)
}

var (
	recipientField = regexp.MustCompile(`(?mi)^Final-Recipient: *[a-z0-9-]+; *(\S+)$`)
	actionField    = regexp.MustCompile(`(?mi)^Action: *(failed|delayed)$`)
)

// reported says which recipients of which message a report (RFC 3464) has given up, and of which it says that it takes longer.
// The message is known by its header, which comes with the report.
func reported(report []byte) (id string, failed, delayed []string) {
	report = bytes.ReplaceAll(report, []byte("\r\n"), []byte("\n"))
	header, body, _ := bytes.Cut(report, []byte("\n\n"))
	if !bytes.Contains(bytes.ToLower(header), []byte("report-type=delivery-status")) {
		return "", nil, nil
	}
	if found := idField.FindSubmatch(body); found != nil {
		id = string(found[1])
	}
	for block := range bytes.SplitSeq(body, []byte("\n\n")) {
		who, action := recipientField.FindSubmatch(block), actionField.FindSubmatch(block)
		switch {
		case who == nil || action == nil:
		case bytes.EqualFold(action[1], []byte("failed")):
			failed = append(failed, string(who[1]))
		default:
			delayed = append(delayed, string(who[1]))
		}
	}
	return id, failed, delayed
}
