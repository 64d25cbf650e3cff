package main

import (
	"bufio"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// accounts reads the accounts file: hashes by address. It is read for each call: who changes
// it need not tell anybody.
func (s *store) accounts() (map[string]string, error) {
	file, err := s.root.Open("accounts")
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "the accounts: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	all := make(map[string]string)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if address, hash, found := strings.Cut(lines.Text(), " "); found {
			all[strings.ToLower(address)] = hash
		}
	}
	return all, nil
}

func (s *store) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	if ctx.Err() != nil {
		return backends.Account{}, ctx.Err()
	}
	if c.Kind != backends.CredentialPassword {
		return backends.Account{}, backends.Fail(backends.Unsupported, "a credential of the kind %v", c.Kind)
	}
	all, err := s.accounts()
	if err != nil {
		return backends.Account{}, err // an outage is not a wrong password
	}
	address := strings.ToLower(c.User)
	hash, known := all[address]
	if !known {
		hash = nobody // takes as long, so that nobody learns which accounts there are
	}
	if !verify(hash, c.Secret) {
		return backends.Account{}, backends.Fail(backends.BadCredentials, "user %q", c.User)
	}
	if c.ActAs != "" && strings.ToLower(c.ActAs) != address {
		return backends.Account{}, backends.Fail(backends.Permanent, "%s may not act as %q", address, c.ActAs)
	}
	return backends.Account{ID: address, Address: address, Addresses: []string{address}}, nil
}

// usualRounds are those of the OWASP password storage cheat sheet for PBKDF2-HMAC-SHA256.
const usualRounds = 600_000

// nobody is a hash that no password has.
var nobody = strconv.Itoa(usualRounds) + "$" + strings.Repeat("00", 16) + "$" + strings.Repeat("00", 32)

// newHash hashes a password for the accounts file: rounds, salt and sum.
func newHash(password string, rounds int) string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails, crypto/rand says
	sum, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		panic(err) // rounds and lengths are ours
	}
	return fmt.Sprintf("%d$%x$%x", rounds, salt, sum)
}

func verify(hash string, password []byte) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 3 {
		return false
	}
	rounds, err := strconv.Atoi(parts[0])
	salt, err1 := hex.DecodeString(parts[1])
	want, err2 := hex.DecodeString(parts[2])
	if err != nil || err1 != nil || err2 != nil {
		return false
	}
	sum, err := pbkdf2.Key(sha256.New, string(password), salt, rounds, sha256.Size)
	return err == nil && subtle.ConstantTimeCompare(sum, want) == 1
}
