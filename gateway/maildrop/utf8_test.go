package maildrop_test

import (
	"testing"

	"github.com/dipylon/dipylon/gateway/pop3"
)

// UTF8 is offered because the sessions say that they have it (RFC 6856 §2).
func TestSessionsHaveUTF8(t *testing.T) {
	g := newGateway(t)
	s, ok := g.session().(pop3.UTF8Session)
	if !ok {
		t.Fatal("UTF8 would not be offered")
	}
	if err := s.EnableUTF8(t.Context()); err != nil {
		t.Error(err)
	}
	if _, ok := g.login().(pop3.Named); !ok {
		t.Error("the log would not say whose maildrop it is")
	}
}
