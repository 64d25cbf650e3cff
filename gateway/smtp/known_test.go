package smtp

import (
	"context"
	"errors"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// knowing is a backend that knows its clients without AUTH, until they are over.
type knowing struct {
	*fake
	recognize func() (bool, error)
	over      func() *Error
}

func (k *knowing) NewSession(ctx context.Context, conn Conn) (Session, error) {
	s, err := k.fake.NewSession(ctx, conn)
	if err != nil {
		return nil, err
	}
	return &knownSession{s.(*fakeSession), k}, nil
}

type knownSession struct {
	*fakeSession
	by *knowing
}

func (s *knownSession) Recognize(context.Context) (bool, error) { return s.by.recognize() }
func (s *knownSession) Over(context.Context) *Error             { return s.by.over() }

// TestKnownWithoutAuth: a client that the backend knows sends mail without AUTH; one that logs in is not known by its address
// any more; what TLS begins with forgets it; and the backend ends a session at any command.
func TestKnownWithoutAuth(t *testing.T) {
	asked, known, refusal, over := 0, false, error(nil), (*Error)(nil)
	k := &knowing{
		fake: &fake{mechanisms: []string{"PLAIN"}, auth: func(string) (sasl.Exchange[sasl.Accepted], error) {
			return nil, &Error{Code: 535, Enhanced: "5.7.8", Text: "wrong"}
		}},
		recognize: func() (bool, error) { asked++; return known, refusal },
		over:      func() *Error { return over },
	}
	s := testServer(k)
	s.Role, s.AllowInsecureAuth, s.TLSConfig = Submission, true, serverTLS()
	c := talk(t, s)
	c.play("< 220\n> EHLO x\n< 250\n> MAIL FROM:<a@b.example>\n< 530 5.7.0 Authentication required")
	refusal = &Error{Code: 550, Enhanced: "5.7.1", Text: "it has expired"}
	c.play("> MAIL FROM:<a@b.example>\n< 550 5.7.1 it has expired")
	refusal, known = nil, true
	asked = 0
	c.play("> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<c@d.example>\n< 250\n> RSET\n< 250\n> MAIL FROM:<a@b.example>\n< 250\n> RSET\n< 250")
	if asked != 1 {
		t.Errorf("it was asked %d times for one client", asked)
	}
	known = false
	c.play("> AUTH PLAIN AGEAYg==\n< 535\n> MAIL FROM:<a@b.example>\n< 530 5.7.0")
	known = true
	c.play("> MAIL FROM:<a@b.example>\n< 250\n> RSET\n< 250\n> STARTTLS\n< 220")
	c.upgrade()
	known = false
	c.play("> EHLO x\n< 250\n> MAIL FROM:<a@b.example>\n< 530 5.7.0")
	over = &Error{Code: 421, Enhanced: "4.7.1", Text: "it is off", Err: errors.New("off"), Fatal: true}
	c.play("> NOOP\n< 421 4.7.1 it is off\n!")
}

// TestMXKnowsNobody: who an MX takes mail from is no matter of a login.
func TestMXKnowsNobody(t *testing.T) {
	k := &knowing{fake: &fake{}, over: func() *Error { return nil }, recognize: func() (bool, error) { return false, errors.New("asked") }}
	talk(t, testServer(k)).play("< 220\n> EHLO x\n< 250\n> MAIL FROM:<a@b.example>\n< 250\n> QUIT\n< 221\n!")
}
