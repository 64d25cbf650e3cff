// Package argon2id hashes passwords (RFC 9106) and compares them, a bounded number at a time:
// each comparison takes the memory that its hash says.
//
//	hash := argon2id.New(password)                      // its String is what is kept
//	hash, err := argon2id.Parse(text)
//	right, err := verifier.Verify(ctx, hash, password)
//
// Where nobody has the name, argon2id.Decoy is what the password is compared with, so that the
// time tells nobody which names there are.
package argon2id

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Costs are Argon2's parameters (RFC 9106 §3.1).
type Costs struct {
	Memory  uint32 // KiB
	Passes  uint32
	Threads uint8
}

// Usual are those of new passwords: the first choice for Argon2id of the OWASP password storage
// cheat sheet, 19 MiB.
var Usual = Costs{Memory: 19456, Passes: 2, Threads: 1}

// most bound what a hash that somebody else wrote can make a login cost.
var most = Costs{Memory: 128 << 10, Passes: 16, Threads: 16}

const (
	saltLength = 16
	hashLength = 32
)

// Hash is an Argon2id hash, "$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>" in the PHC
// string format.
type Hash struct {
	Costs
	salt, sum []byte
}

// The errors of [Parse], for the person who wrote the text. They do not quote it: somebody may
// have put a password there.
var (
	ErrNotArgon2id = errors.New(`expected a hash that begins with "$argon2id$v=19$"; set the password with the command instead`)
	ErrCosts       = fmt.Errorf("its costs are out of bounds: memory from 8 KiB a thread to %d KiB, at most %d passes and %d threads",
		most.Memory, most.Passes, most.Threads)
)

// Parse reads a hash. The errors are [ErrNotArgon2id] and [ErrCosts].
func Parse(text string) (*Hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return nil, ErrNotArgon2id
	}
	var h Hash
	var rest string
	if n, err := fmt.Sscanf(parts[3]+" .", "m=%d,t=%d,p=%d %s", &h.Memory, &h.Passes, &h.Threads, &rest); n != 4 || err != nil || rest != "." {
		return nil, ErrNotArgon2id
	}
	if h.Threads == 0 || h.Threads > most.Threads || h.Passes == 0 || h.Passes > most.Passes ||
		h.Memory < 8*uint32(h.Threads) || h.Memory > most.Memory {
		return nil, ErrCosts
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.sum) < 16 || len(h.sum) > 64 {
		return nil, ErrNotArgon2id
	}
	return &h, nil
}

// String is the hash in the form that [Parse] reads.
func (h *Hash) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.Memory, h.Passes, h.Threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.sum))
}

// New hashes a password at the [Usual] costs.
func New(password []byte) *Hash { return NewAt(Usual, password) }

// NewAt hashes a password at other costs.
func NewAt(c Costs, password []byte) *Hash {
	h := Decoy(c)
	h.sum = h.derive(password)
	return h
}

// Decoy is one that no password has: it costs a login that cannot succeed as much as one
// that can.
func Decoy(c Costs) *Hash {
	h := &Hash{Costs: c, salt: make([]byte, saltLength), sum: make([]byte, hashLength)}
	_, _ = rand.Read(h.salt) // never fails, crypto/rand says
	_, _ = rand.Read(h.sum)
	return h
}

func (h *Hash) derive(password []byte) []byte {
	return argon2.IDKey(password, h.salt, h.Passes, h.Memory, h.Threads, uint32(len(h.sum)))
}

// Verifier compares passwords with hashes, so many at a time that memory stays bounded.
type Verifier chan struct{}

// NewVerifier makes one that compares so many at a time, one at the least.
func NewVerifier(atOnce int) Verifier { return make(Verifier, max(atOnce, 1)) }

// Verify says whether the password has the hash. It waits for its turn as long as ctx lasts.
func (v Verifier) Verify(ctx context.Context, h *Hash, password []byte) (bool, error) {
	select {
	case v <- struct{}{}:
		defer func() { <-v }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(h.derive(password), h.sum) == 1, nil
}
