package mapihttp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
)

// Bounds of a reply.
const (
	metaMost = 64 << 10 // octets of what stands before a reply: a PENDING comes every 15 to 30 seconds
	bodyMost = 4 << 20  // octets of a reply
)

var errMeta = errors.New("what stands before the reply is not PROCESSING, PENDING, DONE and a header")

// metaReply is what a response body has: MS-OXCMAPIHTTP §2.2.2.2.
type metaReply struct {
	header textproto.MIMEHeader // that came with the reply: it overrides that of HTTP
	body   []byte
}

// readMeta reads a response body to its end.
func readMeta(r io.Reader) (metaReply, error) {
	in := bufio.NewReader(r)
	head, err := readHead(in)
	if err != nil {
		return metaReply{}, err
	}
	reply, err := parseHead(head)
	if err != nil {
		return metaReply{}, err
	}
	if reply.body, err = io.ReadAll(io.LimitReader(in, bodyMost+1)); err != nil {
		return metaReply{}, err
	}
	if len(reply.body) > bodyMost {
		return metaReply{}, fmt.Errorf("a reply has more than %d octets", bodyMost)
	}
	return reply, nil
}

// readHead reads up to the empty line.
func readHead(in *bufio.Reader) ([]byte, error) {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if len(head) >= metaMost {
			return nil, fmt.Errorf("%w: no empty line in %d octets", errMeta, metaMost)
		}
		octet, err := in.ReadByte()
		if err == io.EOF {
			return nil, fmt.Errorf("%w: no empty line: %w", errMeta, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return nil, err
		}
		head = append(head, octet)
	}
	return head, nil
}

// parseHead reads the meta-tags and the header.
//
// QUIRK: some servers send PENDING without a line end, so that it stands before the next of them.
func parseHead(head []byte) (metaReply, error) {
	reply, done := metaReply{header: textproto.MIMEHeader{}}, false
	for line := range strings.SplitSeq(strings.TrimSuffix(string(head), "\r\n\r\n"), "\r\n") {
		for strings.HasPrefix(line, "PENDING") {
			line = strings.TrimPrefix(line, "PENDING")
		}
		name, value, field := strings.Cut(line, ":")
		switch {
		case line == "" || line == "PROCESSING" && !done:
		case line == "DONE" && !done:
			done = true
		case field && done:
			reply.header.Set(name, strings.TrimSpace(value))
		default:
			return metaReply{}, fmt.Errorf("%w: %.40q", errMeta, line)
		}
	}
	if !done {
		return metaReply{}, fmt.Errorf("%w: there is no DONE", errMeta)
	}
	return reply, nil
}

// responseCode reads an X-ResponseCode, MS-OXCMAPIHTTP §2.2.3.3.3.
func responseCode(value string) (uint64, error) {
	code, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("X-ResponseCode is %.40q", value)
	}
	return code, nil
}
