package asking

import (
	"context"
	"errors"
	"fmt"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/collect"
)

// Server is a server that is asked.
type Server struct {
	Name    string
	Address string // host:port
	Nodes   []string
	Options smtpclient.Options
	// Schedule is when it is asked.
	Schedule collect.Schedule
	// Settings tells one configuration of it from another. It has secrets in it.
	Settings string
}

// Answer is what a server has said of one node.
type Answer struct {
	Node string
	Code int    // 250 to 253: it has started what it has; 0: it was not asked to the end
	Said string // for people, without line ends
	Err  error  // a refusal, or why it was not asked; nil: none
}

// Ask asks a server for all its nodes: an answer for each, in their order. The error is the first of theirs, or that of the connection.
func Ask(ctx context.Context, s Server) (answers []Answer, err error) {
	client, err := smtpclient.Dial(ctx, "tcp", s.Address, s.Options)
	if err != nil {
		return nil, err
	}
	defer client.Close() //nolint:errcheck // it has said all that was asked for
	for _, node := range s.Nodes {
		reply, failed := client.ETRN(ctx, node)
		a := Answer{Node: node, Code: reply.Code, Err: failed}
		if refused, is := errors.AsType[*smtpclient.ReplyError](failed); is {
			a.Said = refused.Diagnostic()
		} else if failed == nil {
			a.Said = reply.Diagnostic()
		}
		if answers = append(answers, a); failed != nil && err == nil {
			err = fmt.Errorf("for %s: %w", node, failed)
		}
		if !client.Alive() {
			break
		}
	}
	return answers, err
}
