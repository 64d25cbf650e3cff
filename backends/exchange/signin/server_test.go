package signin_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	//lint:ignore SA1019 NTLM is made of it (MS-NLMP §3.3.2)
	"golang.org/x/crypto/md4"

	"github.com/dipylon/dipylon/backends/exchange/signin"
)

// site is a server that signs in by some methods, with what it was sent.
type site struct {
	*httptest.Server
	t       *testing.T
	offers  []string // schemes
	binding bool     // it wants the channel binding

	mu       sync.Mutex
	password string
	log      []string          // what came: the method of each request, and what became of it
	judged   int               // how often a password was looked at
	signedIn map[string]bool   // by the client's address
	sent     map[string][]byte // challenges, by the client's address
	// hook answers a request in the place of the server where it returns true. It is called under the lock.
	hook func(w http.ResponseWriter, r *http.Request, n int) bool
}

func serve(t *testing.T, offers ...string) *site {
	s := &site{t: t, offers: offers, password: "sesame", signedIn: map[string]bool{}, sent: map[string][]byte{}}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	octets, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.log = append(s.log, strings.TrimSpace(fmt.Sprint(scheme, " ", len(octets))))
	if s.hook != nil && s.hook(w, r, len(s.log)) {
		return
	}
	if s.accepts(w, r, scheme, token) {
		_, _ = io.WriteString(w, "hello "+string(octets))
		return
	}
	if w.Header().Get("WWW-Authenticate") == "" {
		for _, o := range s.offers {
			w.Header().Add("WWW-Authenticate", o)
		}
	}
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, "no")
}

func (s *site) accepts(w http.ResponseWriter, r *http.Request, scheme, token string) bool {
	if scheme != "" && !slices.ContainsFunc(s.offers, func(o string) bool { return strings.HasPrefix(o, scheme) }) {
		return false
	}
	switch scheme {
	case "":
		return s.signedIn[r.RemoteAddr]
	case "Basic":
		s.judged++
		user, password, _ := r.BasicAuth()
		return user == `SAKES\george` && password == s.password
	case "Bearer":
		s.judged++
		return token == s.password
	}
	message, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(message) < 12 {
		s.t.Errorf("the token %q", token)
		return false
	}
	if message[8] == 1 {
		s.sent[r.RemoteAddr] = challenge("12345678")
		w.Header().Set("WWW-Authenticate", scheme+" "+base64.StdEncoding.EncodeToString(s.sent[r.RemoteAddr]))
		return false
	}
	if s.sent[r.RemoteAddr] == nil {
		s.t.Error("an AUTHENTICATE_MESSAGE on a connection that had no challenge")
		return false
	}
	delete(s.sent, r.RemoteAddr)
	s.judged++
	s.signedIn[r.RemoteAddr] = s.proves(message)
	return s.signedIn[r.RemoteAddr]
}

// proves says whether an AUTHENTICATE_MESSAGE has the password and the channel binding (MS-NLMP §3.3.2, §2.2.2.1).
func (s *site) proves(message []byte) bool {
	response, domain, user := field(message, 20), field(message, 28), field(message, 36)
	hash := md4.New()
	hash.Write(text(s.password))
	key := hmacMD5(hash.Sum(nil), slices.Concat(text(strings.ToUpper("george")), domain))
	sum := sha256.Sum256(s.Certificate().Raw)
	data := append([]byte("tls-server-end-point:"), sum[:]...)
	bound := md5.Sum(append(binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(data))), data...))
	if s.binding && !bytes.Contains(response, pair(10, bound[:])) {
		return false
	}
	return bytes.Equal(user, text("george")) && bytes.Contains(response, pair(9, text("HTTP/127.0.0.1"))) &&
		len(response) > 16 && hmac.Equal(response[:16], hmacMD5(key, []byte("12345678"), response[16:]))
}

func text(s string) (octets []byte) {
	for _, unit := range utf16.Encode([]rune(s)) {
		octets = binary.LittleEndian.AppendUint16(octets, unit)
	}
	return octets
}

func pair(id uint16, value []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, id), uint16(len(value))), value...)
}

// challenge is a CHALLENGE_MESSAGE, MS-NLMP §2.2.1.2.
func challenge(nonce string) []byte {
	info := slices.Concat(pair(1, text("SERVER")), pair(2, text("SAKES")), pair(7, []byte{1, 2, 3, 4, 5, 6, 7, 1}), pair(0, nil))
	b := []byte("NTLMSSP\x00\x02\x00\x00\x00")
	place := func(size, at int) {
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(size)), uint16(size))
		b = binary.LittleEndian.AppendUint32(b, uint32(at))
	}
	place(10, 56)
	b = binary.LittleEndian.AppendUint32(b, 0xa28a8215)
	b = append(b, nonce+"\x00\x00\x00\x00\x00\x00\x00\x00"...)
	place(len(info), 66)
	return slices.Concat(b, []byte{10, 0, 0, 0, 0, 0, 0, 15}, text("SAKES"), info)
}

func field(message []byte, at int) []byte {
	size, start := binary.LittleEndian.Uint16(message[at:]), binary.LittleEndian.Uint32(message[at+4:])
	return message[start:][:size]
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// login signs in as George.
func (s *site) login(c signin.Config, who signin.Credential) *signin.Login {
	s.t.Helper()
	c.URL = s.URL
	if c.TLS == nil {
		c.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig
	}
	server, err := signin.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	l := server.Login(who)
	s.t.Cleanup(l.CloseIdleConnections)
	return l
}

var george = signin.Credential{User: `SAKES\george`, Password: "sesame"}

// ask sends a request with a body, and returns what is answered.
func ask(t *testing.T, l *signin.Login, url, text string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	response, err := l.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	octets, err := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", string(octets)), err
}

// came returns what the server was sent, and forgets it.
func (s *site) came() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.log, ", ")
	s.log = nil
	return all
}
