// Package convert turns the types of package backends into the messages of the plugin wire
// and back. It is the only place that knows both, and host and serve share it.
//
// A function FooToProto makes a message; a function FooFromProto makes the value again and
// judges it on the way, since whatever comes over the wire was written by a stranger:
//
//	entry, err := convert.EntryFromProto(message)   // an id of 0 or 5000 octets is an error
//	failure := convert.FailureFromProto(message)    // an unknown kind is a temporary failure
//
// What cannot be mended is an error, and the caller fails the call or the session that it
// belongs to. What can be mended without changing its meaning is mended: text for logs loses
// its control characters, an impossible time becomes the zero time.
//
// Strings of the gateway's clients may hold octets that are no UTF-8, which protobuf cannot
// carry: functions that take such strings return an error of their own for it, [ErrText].
package convert

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dipylon/dipylon/backends"
)

// Bounds of what may come over the wire.
const (
	IDMost        = 1024      // octets of a message id
	EntriesMost   = 1000      // entries of one answer to List
	ChunkMost     = 256 << 10 // octets of one chunk
	TopsMost      = 16        // messages of a Measure that asks for tops
	KeyMost       = 64        // characters of Delivery.Key
	addressMost   = 1024      // octets of an address
	addressesMost = 10_000    // addresses of an account, recipients of an outgoing message
	addressOctets = 1 << 20   // of all addresses of an account: a session keeps them
	mechanismMost = 32        // SASL mechanisms of a store
	accountMost   = 255       // octets of an account's id
	formerMost    = 1000      // former ids of an account
	folderMost    = 1024      // octets of a folder's id
	grantMost     = 64 << 10  // octets of an account's grant
	// octets of an account's credential generation
	generationMost = 128
	textMost       = 512     // octets of a failure's text
	detailMost     = 2 << 10 // octets of a failure's detail: it travels in a header
	nameMost       = 255     // octets of a name that is shown
	retryMost      = 24 * time.Hour
)

// ErrText is a string that cannot cross the wire because it is not UTF-8.
var ErrText = errors.New("not UTF-8")

// errWire starts every error about a message that breaks the rules of the wire.
var errWire = errors.New("the message breaks the wire's rules")

func wireError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errWire, fmt.Sprintf(format, args...))
}

// checkText refuses what protobuf cannot carry as a string.
func checkText(what string, values ...string) error {
	for _, v := range values {
		if !utf8.ValidString(v) {
			return fmt.Errorf("%s: %w", what, ErrText)
		}
	}
	return nil
}

// Line makes one line of printable text of at most n octets out of whatever a stranger wrote.
func Line(text string, n int) string {
	if len(text) > 4*n { // do not walk through what is cut off anyway
		text = text[:4*n]
	}
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case unicode.IsSpace(r), unicode.IsControl(r):
			return ' '
		case !unicode.IsPrint(r): // bidirectional overrides and other invisible things
			return '?'
		}
		return r
	}, text)
	clean = strings.TrimSpace(clean)
	if len(clean) <= n {
		return clean
	}
	for n > 0 && !utf8.RuneStart(clean[n]) {
		n--
	}
	return strings.TrimSpace(clean[:n]) // a line is the same when it crosses again
}

func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func timeFromProto(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	if at := t.AsTime(); at.Year() >= yearLeast && at.Year() < yearMost {
		return at
	}
	return time.Time{}
}

// Years that a message can be of. Another one is a time that is not known.
const yearLeast, yearMost = 1900, 2500

func durationToProto(d time.Duration) *durationpb.Duration {
	if d <= 0 {
		return nil
	}
	return durationpb.New(d)
}

func durationFromProto(d *durationpb.Duration, most time.Duration) time.Duration {
	if d == nil || d.CheckValid() != nil {
		return 0
	}
	return max(0, min(d.AsDuration(), most))
}

func toInt32(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) }

func checkID(id []byte) (backends.MessageID, error) {
	if len(id) == 0 || len(id) > IDMost {
		return "", wireError("a message id of %d octets", len(id))
	}
	return backends.MessageID(id), nil
}
