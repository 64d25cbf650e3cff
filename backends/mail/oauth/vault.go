package oauth

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/filelock"
	"github.com/dipylon/dipylon/backends/vault"
)

// Vault is where a refresh token is kept, and what all gateways on one state share of tokens, encrypted (AES-256-GCM, with a
// key that is made of the administrator's by HKDF, RFC 5869).
//
// An issuer may give another refresh token with each access token and make the old one void. So one request is under way
// among all who have the login, and the new refresh token is kept before anybody has the access token. With Shared that goes
// for all gateways (see shared.go). Without it there is a file, which is locked over the request, and each of several gateways
// has a login of its own.
type Vault struct {
	Shared vault.Vault // nil: what is got is shared with nobody, and a refresh token is in File
	// File is in a folder that exists. With Shared a refresh token that an earlier version has left there is taken over.
	File string
	// Key is the secret that things are encrypted with; at least 32 characters. Empty, but for [RefreshToken]: they are
	// encrypted with what tokens are got with.
	Key  string
	Name string // whose token it is: bound into the encryption
}

// sealKeyLeast is how many characters a key has: hexadecimal ones of 128 bits.
const sealKeyLeast = 32

// VaultIn is the file of a store's or a route's refresh token, in its folder.
func VaultIn(folder string) string { return filepath.Join(folder, "oauth-login") }

// sealedMost bounds the file: refresh tokens have some kilobytes at most.
const sealedMost = 64 << 10

// errNoLogin says that nobody has logged in, or that the login is over.
var errNoLogin = errors.New("there is no login")

// put keeps a refresh token in the file, in the place of the one that was there.
func (v Vault) put(ctx context.Context, token string) error {
	unlock, err := v.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return v.write(token)
}

// change gives the refresh token to a request, and keeps the one that it comes back with, also beside an error. Nobody else uses it meanwhile.
func (v Vault) change(ctx context.Context, request func(token string) (next string, err error)) error {
	unlock, err := v.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	token, err := v.read()
	if err != nil {
		return err
	}
	next, err := request(token)
	if next == "" || next == token {
		return err
	}
	return cmp.Or(err, v.write(next))
}

// lockAgain is how often a lock is tried that another process has.
const lockAgain = 20 * time.Millisecond

// lock waits until nobody else uses the token.
func (v Vault) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(v.File+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &Error{Kind: VaultUnusable, Err: err}
	}
	again := time.NewTicker(lockAgain)
	defer again.Stop()
	for filelock.Try(f) != nil {
		select {
		case <-again.C:
		case <-ctx.Done():
			_ = f.Close()
			return nil, &Error{Kind: VaultUnusable, Err: fmt.Errorf("another process uses it: %w", context.Cause(ctx))}
		}
	}
	return func() { _ = f.Close() }, nil
}

// seal is what the file is encrypted with.
func (v Vault) seal() (cipher.AEAD, error) {
	return sealOf([]byte(v.Key), "dipylon oauth refresh token")
}

// sealOf makes a key of a secret, for one purpose.
func sealOf(secret []byte, purpose string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// read decrypts the file.
func (v Vault) read() (string, error) {
	f, err := os.Open(v.File)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &Error{Kind: LoginNeeded, Err: errNoLogin}
	}
	if err != nil {
		return "", &Error{Kind: VaultUnusable, Err: err}
	}
	defer f.Close() //nolint:errcheck // it was read
	sealed, err := io.ReadAll(io.LimitReader(f, sealedMost))
	if err != nil {
		return "", &Error{Kind: VaultUnusable, Err: err}
	}
	seal, err := v.seal()
	if err != nil {
		return "", &Error{Kind: VaultUnusable, Err: err}
	}
	token, err := seal.Open(nil, nil, sealed, []byte(v.Name))
	if err != nil {
		return "", &Error{Kind: VaultUnusable, Err: errors.New("it was encrypted with another seal_key, or is damaged")}
	}
	return string(token), nil
}

// write encrypts a token into a new file, which takes the old one's place once it is on the disk.
func (v Vault) write(token string) error {
	seal, err := v.seal()
	if err != nil {
		return &Error{Kind: VaultUnusable, Err: err}
	}
	if err := durable.Replace(v.File, seal.Seal(nil, nil, []byte(token), []byte(v.Name))); err != nil {
		return &Error{Kind: VaultUnusable, Err: err}
	}
	return nil
}
