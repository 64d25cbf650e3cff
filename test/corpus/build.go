package corpus

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// head is the standard header of a message: it is as plain as can be, so that what is special
// about a message is its body or the fields that follow.
func head(name string) string {
	return "From: Erika Mustermann <erika@corpus.example>\r\n" +
		"To: Max Power <max@corpus.example>\r\n" +
		"Subject: " + name + "\r\n" +
		"Date: Mon, 09 Nov 2026 08:01:02 +0100\r\n" +
		"Message-ID: <" + name + "@corpus.example>\r\n"
}

// source is the random source of a message: seeded by its name, so that one message does not
// change when another is added.
func source(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(h.Sum64(), 0x6d61696c))
}

// octets are n random octets.
func octets(name string, n int) []byte {
	r, b := source(name), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

var words = strings.Fields(`the gate of a city has two leaves and one stands open by day so that who comes
	with a letter may pass while its keeper looks at the seal counts what is brought in and writes down the
	hour nothing is lost between wall and square because every courier waits until the book is signed`)

// prose is at least n octets of words in lines of at most 72 octets, each with its CRLF.
func prose(name string, n int) string {
	r := source(name)
	var b strings.Builder
	line := 0
	for b.Len() < n {
		word := words[r.IntN(len(words))]
		if line+1+len(word) > 72 {
			b.WriteString("\r\n")
			line = 0
		}
		if line > 0 {
			b.WriteByte(' ')
			line++
		}
		b.WriteString(word)
		line += len(word)
	}
	b.WriteString("\r\n")
	return b.String()
}

// wrapped is base64 in lines of 76 characters (RFC 2045 §6.8), each with its CRLF.
func wrapped(content []byte) string {
	const octetsOfALine = 57
	var b strings.Builder
	b.Grow(len(content)*137/100 + 4)
	for len(content) > octetsOfALine {
		b.WriteString(base64.StdEncoding.EncodeToString(content[:octetsOfALine]))
		b.WriteString("\r\n")
		content = content[octetsOfALine:]
	}
	b.WriteString(base64.StdEncoding.EncodeToString(content))
	b.WriteString("\r\n")
	return b.String()
}

// quoted is quoted-printable (RFC 2045 §6.7) with every octet that is not a letter or a digit
// encoded, in lines of at most 76 characters.
func quoted(content []byte) string {
	var b strings.Builder
	line := 0
	for _, c := range content {
		piece := fmt.Sprintf("=%02X", c)
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			piece = string(rune(c))
		}
		if line+len(piece) > 75 {
			b.WriteString("=\r\n")
			line = 0
		}
		b.WriteString(piece)
		line += len(piece)
	}
	b.WriteString("\r\n")
	return b.String()
}

// part is a body part: its header fields and its body, all lines with their CRLF.
func part(fields, body string) string { return fields + "\r\n" + body }

// joined is the body of a multipart entity (RFC 2046 §5.1.1) whose delimiters are exactly what
// a careful sender writes.
func joined(boundary string, parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		// The CRLF in front of a delimiter belongs to it, and p has it already.
		b.WriteString("--" + boundary + "\r\n" + p)
	}
	b.WriteString("--" + boundary + "--\r\n")
	return b.String()
}

// multipart is a whole message of that type.
func multipart(name, subtype, parameters, boundary string, parts ...string) Message {
	fields := "MIME-Version: 1.0\r\n" +
		"Content-Type: multipart/" + subtype + "; boundary=\"" + boundary + "\"" + parameters + "\r\n"
	return headed(name, fields, joined(boundary, parts...))
}

const (
	plainType = "Content-Type: text/plain; charset=us-ascii\r\n"
	htmlType  = "Content-Type: text/html; charset=us-ascii\r\n"
	binary64  = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
)

func plainPart(body string) string { return part(plainType, body) }

// attachment is a base64 part with a file name.
func attachment(filename string, content []byte) string {
	return part(binary64+"Content-Disposition: attachment; filename=\""+filename+"\"\r\n", wrapped(content))
}
