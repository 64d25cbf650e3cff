package storetest

// SASLClient is the client's side of one exchange. It is called with nil for the initial
// response (and returns nil where the mechanism has none), then with each challenge.
type SASLClient func(challenge []byte) ([]byte, error)

// NewSASLClient gives the client's side of NTLM (MS-NLMP, version 2), PLAIN (RFC 4616) and LOGIN;
// nil for any other mechanism.
func NewSASLClient(mechanism, user, password string) SASLClient {
	switch mechanism {
	case "NTLM":
		return ntlmClient(user, password)
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
