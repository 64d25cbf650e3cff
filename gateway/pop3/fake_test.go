package pop3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// fakeBackend has users with passwords, and a maildrop that each login opens.
type fakeBackend struct {
	users      map[string]string
	mechanisms []string
	refuse     error // for NewSession
	utf8       error
	noPassword bool
	over       func(context.Context) error

	newDrop func(user string) *fakeDrop
	// onPassword, if set, takes the place of looking into users.
	onPassword func(ctx context.Context, user, password string) error
	exchange   func(mechanism string) sasl.Exchange[Login]

	mu       sync.Mutex
	conns    []Conn
	opened   []*fakeDrop
	sessions int // open
	utf8Mode bool
	logins   []string
}

func newFake(messages ...string) *fakeBackend {
	return &fakeBackend{
		users:      map[string]string{"bob": "secret", "spaces": " a  b ", "andré": "é"},
		mechanisms: []string{"PLAIN", "X-STEPS"},
		newDrop:    func(string) *fakeDrop { return &fakeDrop{messages: messages} },
	}
}

func (b *fakeBackend) NewSession(_ context.Context, conn Conn) (Session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return nil, b.refuse
	}
	b.conns = append(b.conns, conn)
	b.sessions++
	return &fakeSession{b}, nil
}

func (b *fakeBackend) open(user string) *Login {
	drop := b.newDrop(user)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened = append(b.opened, drop)
	b.logins = append(b.logins, user)
	return &Login{
		Maildrop: drop, User: user, Accessed: drop.accessed, Expire: drop.expire,
		IdleTimeout: drop.idle, SessionLimit: drop.session, AfterLoss: drop.afterLoss(), Over: b.over,
	}
}

// left says what is still open: sessions, and maildrops.
func (b *fakeBackend) left() (sessions, drops int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.opened {
		d.mu.Lock()
		if d.closed != 1 {
			drops++
		}
		d.mu.Unlock()
	}
	return b.sessions, drops
}

type fakeSession struct{ b *fakeBackend }

func (s *fakeSession) Password(ctx context.Context, user string, password []byte) (*Login, error) {
	if s.b.onPassword != nil {
		if err := s.b.onPassword(ctx, user, string(password)); err != nil {
			return nil, err
		}
		return s.b.open(user), nil
	}
	return s.check(user, string(password))
}

var errBadLogin = &Error{Code: "AUTH", Text: "invalid user name or password"}

func (s *fakeSession) check(user, password string) (*Login, error) {
	if want, ok := s.b.users[user]; !ok || want != password {
		return nil, errBadLogin
	}
	return s.b.open(user), nil
}

func (s *fakeSession) Mechanisms() []string { return s.b.mechanisms }
func (s *fakeSession) AllowPassword() bool  { return !s.b.noPassword }

func (s *fakeSession) EnableUTF8(context.Context) error {
	if s.b.utf8 == nil {
		s.b.utf8Mode = true
	}
	return s.b.utf8
}

func (s *fakeSession) Authenticate(_ context.Context, mechanism string) (sasl.Exchange[Login], error) {
	if s.b.exchange != nil {
		return s.b.exchange(mechanism), nil
	}
	if mechanism == "PLAIN" {
		return &plain{session: s}, nil
	}
	return &steps{session: s}, nil
}

func (s *fakeSession) Close() {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.sessions--
}

// plain is SASL PLAIN (RFC 4616).
type plain struct{ session *fakeSession }

func (*plain) Close() error { return nil }

func (p *plain) Next(_ context.Context, response []byte) ([]byte, *Login, error) {
	if response == nil {
		return nil, nil, nil
	}
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 {
		return nil, nil, &Error{Code: "AUTH", Text: "malformed response"}
	}
	drop, err := p.session.check(parts[1], parts[2])
	return nil, drop, err
}

// steps is a mechanism of three responses; what came is in the last challenge.
type steps struct {
	session *fakeSession
	seen    []string
}

func (*steps) Close() error { return nil }

func (e *steps) Next(_ context.Context, response []byte) ([]byte, *Login, error) {
	if response == nil {
		e.seen = append(e.seen, "none")
	} else {
		e.seen = append(e.seen, fmt.Sprintf("%d", len(response)))
	}
	if len(e.seen) == 4 {
		return nil, e.session.b.open("steps"), nil
	}
	return []byte(strings.Join(e.seen, ",")), nil, nil
}

// fakeDrop is a maildrop in memory, that can be told to fail.
type fakeDrop struct {
	idle, session time.Duration
	expire        string
	accessed      int
	messages      []string
	sizes         map[int]int64
	uidls         map[int]string
	failSize      map[int]error
	failOpen      map[int]error
	content       func(ctx context.Context, n, top int) io.ReadCloser
	onUpdate      func(ctx context.Context, deleted []int) error
	onSize        func(ctx context.Context) error
	life          context.Context //nolint:containedctx // ends with the drop; nil: it lives
	told          chan<- struct{} // gets one when the session has been told of that; nil: nobody waits

	mu      sync.Mutex
	updates [][]int
	closed  int
}

func (d *fakeDrop) Len() int { return len(d.messages) }

func (d *fakeDrop) afterLoss() func(f func()) (stop func() bool) {
	if d.life == nil {
		return nil
	}
	return func(f func()) (stop func() bool) {
		return context.AfterFunc(d.life, func() {
			f()
			if d.told != nil {
				d.told <- struct{}{}
			}
		})
	}
}

func (d *fakeDrop) Size(ctx context.Context, n int) (int64, error) {
	if d.onSize != nil {
		if err := d.onSize(ctx); err != nil {
			return 0, err
		}
	}
	if err := d.failSize[n]; err != nil {
		return 0, err
	}
	if size, ok := d.sizes[n]; ok {
		return size, nil
	}
	return int64(len(canonical(d.messages[n-1]))), nil
}

func (d *fakeDrop) UIDL(n int) string {
	if id, ok := d.uidls[n]; ok {
		return id
	}
	return fmt.Sprintf("uid-%d", n)
}

func (d *fakeDrop) Open(ctx context.Context, n, top int) (Content, error) {
	if err := d.failOpen[n]; err != nil {
		return nil, err
	}
	content := d.open
	if d.content != nil {
		content = d.content
	}
	c := content(ctx, n, top)
	if top >= 0 {
		return sized(c, -1), nil
	}
	size, err := d.Size(ctx, n)
	if err != nil {
		return nil, err
	}
	return sized(c, size), nil
}

func (d *fakeDrop) open(_ context.Context, n, top int) io.ReadCloser {
	text := d.messages[n-1]
	if top >= 0 {
		header, body, _ := strings.Cut(text, "\r\n\r\n")
		lines := strings.SplitAfter(body, "\r\n")
		text = header + "\r\n\r\n" + strings.Join(lines[:min(top, len(lines))], "")
	}
	return io.NopCloser(strings.NewReader(text))
}

// sizedContent is a content that knows its size.
type sizedContent struct {
	io.ReadCloser
	size int64
}

func (c sizedContent) Size() int64 { return c.size }

// sized makes a content that can write itself where c can.
func sized(c io.ReadCloser, size int64) Content {
	if direct, ok := c.(io.WriterTo); ok {
		return struct {
			sizedContent
			io.WriterTo
		}{sizedContent{c, size}, direct}
	}
	return sizedContent{c, size}
}

func (d *fakeDrop) Update(ctx context.Context, deleted []int) error {
	d.mu.Lock()
	d.updates = append(d.updates, deleted)
	d.mu.Unlock()
	if d.onUpdate != nil {
		return d.onUpdate(ctx, deleted)
	}
	return nil
}

func (d *fakeDrop) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed++
	return nil
}

// failingContent gives some octets, and then an error that is not io.EOF.
type failingContent struct {
	text string
	err  error
}

func (c *failingContent) Read(p []byte) (int, error) {
	if c.text == "" {
		return 0, c.err
	}
	n := copy(p, c.text)
	c.text = c.text[n:]
	return n, nil
}
func (c *failingContent) Close() error { return nil }

var errBroken = errors.New("the store broke")

// tlsOf says whether a connection had TLS when asked.
func tlsOf(c Conn) *tls.ConnectionState { return c.TLS() }

// canonical is a slow and plain rendering of what a content means: every line ends in CRLF,
// a CR elsewhere is a space.
func canonical(text string) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n':
			b.WriteString("\r\n")
			i++
		case text[i] == '\n':
			b.WriteString("\r\n")
		case text[i] == '\r' && i+1 < len(text):
			b.WriteByte(' ')
		case text[i] == '\r':
			b.WriteString("\r\n")
		default:
			b.WriteByte(text[i])
		}
	}
	if s := b.String(); strings.HasSuffix(s, "\r\n") {
		return s
	}
	return b.String() + "\r\n"
}
