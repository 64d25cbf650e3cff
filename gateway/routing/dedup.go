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

// Dedup remembers messages whose delivery was begun and answered with 4xx, so that the
// client's next try goes on where this one ended (I2): under the same key, and without the
// recipients that have their copy.
//
// A message is known by its fingerprint. Two identical messages that are under way at once are
// two: an attempt that one transaction has taken is not seen by another.
type Dedup interface {
	// Take finds an unfinished attempt of the message that has something to say of one of the
	// recipients; where there is none it makes a new one, with a new key. The attempt is the
	// caller's alone until Put.
	Take(ctx context.Context, message Message) (*Attempt, error)
	// Put gives an attempt back: it is on stable storage when Put returns, or, with nothing
	// left to remember, forgotten. It is called once for each Take.
	Put(ctx context.Context, attempt *Attempt) error
}

// Message is what a message is recognised by.
type Message struct {
	// Fingerprint is of what the client has sent, see fingerprint.
	Fingerprint string
	Recipients  []string
	// Named says that the client has given it a Message-ID.
	Named bool
	// Dated is the client's Date; zero: there is none that can be read.
	Dated time.Time
}

// datedWithin is how far a client's clock may be from ours.
const datedWithin = 24 * time.Hour

// unlike says whether something in the message tells it from a later one that is alike: a
// Message-ID, or a Date that is about the time at which it was seen first. An alarm of a device that
// has neither, or whose clock stands still, is the same to the octet each time, and a message that
// is taken for an earlier one's retry is not delivered to whom that one was: a second copy is the
// lesser evil.
func (m Message) unlike(first time.Time) bool {
	return m.Named || m.Dated.Sub(first).Abs() <= datedWithin && !m.Dated.IsZero()
}

// Attempt is what is known of a message that is not finished.
type Attempt struct {
	Fingerprint string `json:"-"`
	// Key is the idempotency key ([backends.Delivery.Key]).
	Key string `json:"key"`
	// First is when the message was first seen.
	First time.Time `json:"first"`
	// Delivered are recipients who have their copy while the client has not been told so.
	Delivered []string `json:"delivered,omitempty"`
	// Unknown are recipients who may have their copy.
	Unknown []string `json:"unknown,omitempty"`
	// Again says that this is not the first attempt.
	Again bool `json:"-"`
}

// newAttempt makes an attempt with a key of its own: 26 letters and digits, 130 bits.
func newAttempt(fingerprint string, now time.Time) *Attempt {
	return &Attempt{Fingerprint: fingerprint, Key: rand.Text(), First: now.UTC()}
}

// set is for recipients, of which there can be many.
func set(recipients []string) map[string]bool {
	s := make(map[string]bool, len(recipients))
	for _, r := range recipients {
		s[r] = true
	}
	return s
}

// knows says whether the attempt has something to say of one of the recipients.
func (a *Attempt) knows(recipients []string) bool {
	if a.empty() {
		return false
	}
	asked := set(recipients)
	is := func(r string) bool { return asked[r] }
	return slices.ContainsFunc(a.Delivered, is) || slices.ContainsFunc(a.Unknown, is)
}

// empty says that there is nothing to remember.
func (a *Attempt) empty() bool { return len(a.Delivered) == 0 && len(a.Unknown) == 0 }

// settle forgets recipients of whom the client has been told for good.
func (a *Attempt) settle(recipients []string) {
	if a.empty() {
		return
	}
	told := set(recipients)
	is := func(r string) bool { return told[r] }
	a.Delivered = slices.DeleteFunc(a.Delivered, is)
	a.Unknown = slices.DeleteFunc(a.Unknown, is)
}

// note remembers outcomes that the client is not told.
func (a *Attempt) note(delivered, unknown []string) {
	a.Delivered = union(a.Delivered, delivered)
	a.Unknown = union(a.Unknown, unknown)
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

// fingerprint names a message: what the client sent, from whom, and who the client is where
// that is known. Lengths keep the parts apart.
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
