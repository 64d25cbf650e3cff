package oauth

import (
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
)

// Vault is a file that keeps a refresh token, encrypted (AES-256-GCM, with a key that is made of the administrator's by
// HKDF, RFC 5869). An issuer may give another refresh token with each access token and make the old one void, so the file is
// locked over the request, and the new one is on the disk before anybody has the access token. A file is one node's: each
// node of several has a login of its own, so that none can lose another's.
type Vault struct {
	File string // in a folder that exists
	Key  string // the secret; at least 32 characters
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

// Put keeps a refresh token in the place of the one that was there.
func (v Vault) Put(ctx context.Context, token string) error {
	unlock, err := v.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return v.write(token)
}

// change gives the refresh token to a request, and keeps the one that it comes back with. Nobody else uses it meanwhile.
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
	if err != nil || next == "" || next == token {
		return err
	}
	return v.write(next)
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

func (v Vault) seal() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(v.Key), nil, "dipylon oauth refresh token", 32)
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
	if err := replaceFile(v.File, seal.Seal(nil, nil, []byte(token), []byte(v.Name))); err != nil {
		return &Error{Kind: VaultUnusable, Err: err}
	}
	return nil
}

// replaceFile writes a file whole, or leaves the old one.
func replaceFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone once it has its name
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(name))
}
