package routing

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Dedup remembers messages whose delivery was begun and answered with 4xx, so that the client's next
// try (RFC 5321 §4.5.4.1) continues where this one ended (I2): under the same key, and without the
// recipients that have their copy.
//
// A message is recognised by its fingerprint. Two identical messages at the same time count as two: an
// attempt that one transaction has taken is not seen by another.
type Dedup interface {
	// Take finds an unfinished attempt of the message that knows of one of the recipients, or makes a
	// new one with a new key. The attempt belongs to the caller until Put.
	Take(ctx context.Context, message Message) (*Attempt, error)
	// Put gives an attempt back. When Put returns the attempt is on stable storage, or is forgotten if
	// it has nothing to remember. Put is called once for each Take.
	Put(ctx context.Context, attempt *Attempt) error
}

// Message is what a message is recognised by.
type Message struct {
	// Fingerprint identifies what the client has sent, see fingerprint.
	Fingerprint string
	Recipients  []string
	// Named says that it came with a Message-ID (RFC 5322 §3.6.4).
	Named bool
	// Dated is the client's Date (RFC 5322 §3.6.1); zero: none, or it cannot be read.
	Dated time.Time
}

// datedWithin is how far a client's clock may be from ours.
const datedWithin = 24 * time.Hour

// unlike says whether the message can be told from a later one with the same text: by a Message-ID, or
// by a Date close to the time at which it was first seen (RFC 5322 §3.6.1, §3.6.4). The alarms of a
// device that sends neither, or whose clock stands still, are identical to the octet. If one were taken
// for a retry of an earlier one, the recipients would not get it; a second copy does less harm.
func (m Message) unlike(first time.Time) bool {
	return m.Named || m.Dated.Sub(first).Abs() <= datedWithin && !m.Dated.IsZero()
}

// Attempt is what is remembered of a message that is not finished.
type Attempt struct {
	Fingerprint string `json:"-"`
	// Key is the idempotency key ([backends.Delivery.Key]).
	Key string `json:"key"`
	// First is when the message was first seen.
	First time.Time `json:"first"`
	// Delivered are recipients that have their copy although the client has not been told so.
	Delivered []string `json:"delivered,omitempty"`
	// Unknown are recipients that may have their copy.
	Unknown []string `json:"unknown,omitempty"`
	// Again says that this is not the first attempt.
	Again bool `json:"-"`
	// written is when the record that was read was written, in microseconds since 1970.
	written int64
}

// newAttempt makes an attempt with a key of its own: 26 letters and digits, 130 bits.
func newAttempt(fingerprint string, now time.Time) *Attempt {
	return &Attempt{Fingerprint: fingerprint, Key: rand.Text(), First: now.UTC()}
}

// set makes a set of recipients, of which there can be many (I11).
func set(recipients []string) map[string]bool {
	s := make(map[string]bool, len(recipients))
	for _, r := range recipients {
		s[r] = true
	}
	return s
}

// knows says whether the attempt knows of one of the recipients that are asked about.
func (a *Attempt) knows(asked map[string]bool) bool {
	is := func(r string) bool { return asked[r] }
	return slices.ContainsFunc(a.Delivered, is) || slices.ContainsFunc(a.Unknown, is)
}

// empty says whether the attempt has nothing to remember.
func (a *Attempt) empty() bool { return len(a.Delivered) == 0 && len(a.Unknown) == 0 }

// settle forgets recipients whose final outcome the client has been told.
func (a *Attempt) settle(recipients []string) {
	if a.empty() {
		return
	}
	told := set(recipients)
	is := func(r string) bool { return told[r] }
	a.Delivered = slices.DeleteFunc(a.Delivered, is)
	a.Unknown = slices.DeleteFunc(a.Unknown, is)
}

// attemptMost is how many recipients of each kind an attempt remembers. A client that sends the same
// message again and again, each time to somebody else, too, makes it grow no further: the first ones
// are forgotten, and a second copy is the lesser evil.
const attemptMost = 10_000

// note remembers outcomes that the client is not told.
func (a *Attempt) note(delivered, unknown []string) {
	a.Delivered = latest(union(a.Delivered, delivered))
	a.Unknown = latest(union(a.Unknown, unknown))
}

// latest leaves as many as an attempt remembers.
func latest(recipients []string) []string {
	return slices.Delete(recipients, 0, max(0, len(recipients)-attemptMost))
}

// union adds those that are missing.
func union(to, more []string) []string {
	there := set(to)
	for _, r := range more {
		if !there[r] {
			there[r] = true
			to = append(to, r)
		}
	}
	return to
}

// fingerprint identifies a message: its content, its reverse-path, and the account of the client if it
// has logged in. Lengths separate the parts.
func fingerprint(account, reversePath string, digest [sha256.Size]byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d %s %d %s ", len(account), account, len(reversePath), reversePath)
	sum.Write(digest[:])
	return hex.EncodeToString(sum.Sum(nil))
}

// forgetful is a deduplication that remembers nothing.
type forgetful struct{}

func (forgetful) Take(_ context.Context, m Message) (*Attempt, error) {
	return newAttempt(m.Fingerprint, time.Now()), nil
}

func (forgetful) Put(context.Context, *Attempt) error { return nil }
