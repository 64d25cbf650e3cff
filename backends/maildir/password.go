package maildir

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

// costs are Argon2's parameters (RFC 9106 §3.1).
type costs struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

// usualCosts are those of new passwords: the OWASP password storage cheat sheet's first
// choice for Argon2id, 19 MiB.
var usualCosts = costs{memory: 19456, passes: 2, threads: 1}

// mostCosts bound what a hash in the accounts file can make a login cost.
var mostCosts = costs{memory: 128 << 10, passes: 16, threads: 16}

const (
	saltLength = 16
	hashLength = 32
)

// passwordHash is an Argon2id hash, "$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>" in the PHC
// string format.
type passwordHash struct {
	costs
	salt, sum []byte
}

var (
	errNotArgon2id = errors.New(`expected a hash that begins with "$argon2id$v=19$"; set the password with the command instead`)
	errHashCosts   = fmt.Errorf("its costs are out of bounds: memory from 8 KiB a thread to %d KiB, at most %d passes and %d threads",
		mostCosts.memory, mostCosts.passes, mostCosts.threads)
)

func parseHash(text string) (*passwordHash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return nil, errNotArgon2id
	}
	var h passwordHash
	var rest string
	if n, err := fmt.Sscanf(parts[3]+" .", "m=%d,t=%d,p=%d %s", &h.memory, &h.passes, &h.threads, &rest); n != 4 || err != nil || rest != "." {
		return nil, errNotArgon2id
	}
	if h.threads == 0 || h.threads > mostCosts.threads || h.passes == 0 || h.passes > mostCosts.passes ||
		h.memory < 8*uint32(h.threads) || h.memory > mostCosts.memory {
		return nil, errHashCosts
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.sum) < 16 || len(h.sum) > 64 {
		return nil, errNotArgon2id
	}
	return &h, nil
}

func (h *passwordHash) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.memory, h.passes, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.sum))
}

// newHash hashes a password for the accounts file.
func newHash(password []byte) *passwordHash {
	h := decoyHash(usualCosts)
	h.sum = h.derive(password)
	return h
}

// decoyHash is one that no password has: it costs a login that cannot succeed as much as one
// that can, so that the time tells nobody which accounts exist.
func decoyHash(c costs) *passwordHash {
	h := &passwordHash{costs: c, salt: make([]byte, saltLength), sum: make([]byte, hashLength)}
	_, _ = rand.Read(h.salt) // never fails, crypto/rand says
	_, _ = rand.Read(h.sum)
	return h
}

func (h *passwordHash) derive(password []byte) []byte {
	return argon2.IDKey(password, h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum)))
}

// verifier compares passwords with hashes, so many at a time that memory stays bounded.
type verifier chan struct{}

func newVerifier(atOnce int) verifier { return make(verifier, max(atOnce, 1)) }

// verify says whether the password has the hash. It waits for its turn as long as ctx lasts.
func (v verifier) verify(ctx context.Context, h *passwordHash, password []byte) (bool, error) {
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
