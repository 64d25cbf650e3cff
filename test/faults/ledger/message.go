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
	failedField    = regexp.MustCompile(`(?mi)^Action: *failed$`)
)

// failed says which recipients of which message a report (RFC 3464) has given up. The message is known by
// its header, which comes with the report.
func failed(report []byte) (id string, recipients []string) {
	report = bytes.ReplaceAll(report, []byte("\r\n"), []byte("\n"))
	header, body, _ := bytes.Cut(report, []byte("\n\n"))
	if !bytes.Contains(bytes.ToLower(header), []byte("report-type=delivery-status")) {
		return "", nil
	}
	if found := idField.FindSubmatch(body); found != nil {
		id = string(found[1])
	}
	for block := range bytes.SplitSeq(body, []byte("\n\n")) {
		if who := recipientField.FindSubmatch(block); who != nil && failedField.Match(block) {
			recipients = append(recipients, string(who[1]))
		}
	}
	return id, recipients
}
