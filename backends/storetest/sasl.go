package storetest

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
)

// SASLClient is the client's side of one exchange. It is called with nil for the initial
// response (and returns nil where the mechanism has none), then with each challenge.
type SASLClient func(challenge []byte) ([]byte, error)

// NewSASLClient gives the client's side of CRAM-MD5 (RFC 2195), PLAIN (RFC 4616), LOGIN
// and APOP; nil for any other mechanism.
func NewSASLClient(mechanism, user, password string) SASLClient {
	switch mechanism {
	case "CRAM-MD5":
		return func(challenge []byte) ([]byte, error) {
			if challenge == nil {
				return nil, nil
			}
			mac := hmac.New(md5.New, []byte(password))
			mac.Write(challenge)
			return []byte(user + " " + hex.EncodeToString(mac.Sum(nil))), nil
		}
	case "APOP": // RFC 1939 §7; the gateway has made the challenge
		return func([]byte) ([]byte, error) {
			const timestamp = "<1896.697170952@storetest.invalid>"
			sum := md5.Sum([]byte(timestamp + password))
			return []byte(timestamp + " " + user + " " + hex.EncodeToString(sum[:])), nil
		}
	case "PLAIN":
		return func([]byte) ([]byte, error) { return []byte("\x00" + user + "\x00" + password), nil }
	case "LOGIN":
		asked := 0
		return func(challenge []byte) ([]byte, error) {
			if challenge == nil {
				return nil, nil
			}
			asked++
			if asked == 1 {
				return []byte(user), nil
			}
			return []byte(password), nil
		}
	}
	return nil
}
