package smtpclient

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// limits on what a server may say.
const (
	replyLine  = 4 << 10
	replyLines = 200
)

// Reply is what a server answered.
type Reply struct {
	Code  int
	Lines []string // without code and separator
}

// ReplyError is a reply that was not the one that was hoped for.
type ReplyError struct {
	Reply
	Command string
}

func (e *ReplyError) Error() string {
	return fmt.Sprintf("%s: %d %s", e.Command, e.Code, strings.Join(e.Lines, " / "))
}

// enhancedCode is an enhanced status code (RFC 3463 §2) at a line's start.
var enhancedCode = lazyregexp.New(`^[245]\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})$`)

// Enhanced takes the enhanced status code off a reply, which has it in each of its lines
// (RFC 2034 §4). It is empty where there is none; the text is one line.
func (r Reply) Enhanced() (code, text string) {
	var words []string
	for i, line := range r.Lines {
		first, rest, _ := strings.Cut(line, " ")
		switch {
		case i == 0 && enhancedCode.MatchString(first):
			code, line = first, rest
		case code != "" && first == code:
			line = rest
		}
		if line = strings.TrimSpace(line); line != "" {
			words = append(words, line)
		}
	}
	return code, strings.Join(words, " ")
}

// diagnosticMost bounds a diagnostic code, in octets.
const diagnosticMost = 512

// Diagnostic is the reply as a diagnostic code (RFC 3464 §2.3.6), on one line.
func (r Reply) Diagnostic() string {
	text := strings.Join(strings.Fields(strings.Join(r.Lines, " ")), " ")
	return strings.TrimSpace(Line(fmt.Sprintf("smtp; %d %s", r.Code, text), diagnosticMost))
}

// Line makes one printable line of at most so many octets of what a server has said.
func Line(text string, most int) string {
	clean := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	for len(clean) > most {
		_, size := utf8.DecodeLastRuneInString(clean)
		clean = clean[:len(clean)-size]
	}
	return clean
}

// ForNumber says whether a recipient was refused for the company it is in: another transaction
// may take it. X.5.3 is "too many recipients" (RFC 3463 §3.6); the words, in small letters, are
// those of servers that have no code, or another one, for it.
func ForNumber(code, text string) bool {
	if _, status, _ := strings.Cut(code, "."); status == "5.3" {
		return true
	}
	for _, words := range []string{
		"too many recipients", "too many rcpt", "recipients limit", "recipient limit", "maximum number of recipients", "number of recipients exceed",
		"per transaction", "separate transaction", "one recipient at a time", // Google's, for recipients of several domains
	} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// throttleWords are how servers say that they get too much, where the code does not: Exchange Online has "sender thread limit
// exceeded" (432 4.3.2), "submission rate … exceeded the configured limit" (421 4.4.2) and "server busy" (451 4.7.500).
var throttleWords = lazyregexp.New(`(?i)\b(thread|rate|connection|connections|message|messages|sending|login|concurrent|daily|hourly)s?\b.{0,60}\b(limit|limits|exceed|exceeded)\b|\bthrottl|\btoo (many|fast|frequent)|\bserver (is )?(too )?busy\b|\bslow down\b|\brate.?limit`)

// Throttles says whether a refusal that passes is for the gateway as a client, which sends too much, and not for a message or
// its recipient: X.4.5 (RFC 3463 §3.5), or words to that effect.
func (r Reply) Throttles() bool {
	if r.Code/100 != 4 {
		return false
	}
	code, text := r.Enhanced()
	_, status, _ := strings.Cut(code, ".")
	switch subject, _, _ := strings.Cut(status, "."); {
	case ForNumber(code, strings.ToLower(text)), subject == "1", subject == "2", status == "3.1": // the recipient's, or the disk's
		return false
	}
	return status == "4.5" || throttleWords.MatchString(text)
}

// readReply reads a reply of one or several lines (RFC 5321 §4.2.1).
func readReply(in *bufio.Reader) (Reply, error) {
	var r Reply
	for len(r.Lines) < replyLines {
		raw, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return r, errors.New("the server's reply line is too long")
		}
		if err != nil {
			return r, err
		}
		line := strings.TrimRight(string(raw), "\r\n")
		if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return r, fmt.Errorf("this is not a reply: %q", line[:min(len(line), 40)])
		}
		code, err := strconv.Atoi(line[:3])
		if err != nil || code < 200 || code > 599 || len(r.Lines) > 0 && code != r.Code {
			return r, fmt.Errorf("this is not a reply: %q", line[:min(len(line), 40)])
		}
		r.Code = code
		r.Lines = append(r.Lines, line[min(4, len(line)):])
		if len(line) == 3 || line[3] == ' ' {
			return r, nil
		}
	}
	return r, errors.New("the server's reply has too many lines")
}
