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

// Ask asks a server for all its nodes: an answer for each, in their order, as far as it came; none: it was not reached. The error is the
// first of theirs, or that of the connection. Servers end a connection over which much is asked, or refused: one that has had an answer is
// followed by another one.
func Ask(ctx context.Context, s Server) (answers []Answer, err error) {
	var lost error
	for lost == nil && len(answers) < len(s.Nodes) {
		var got []Answer
		got, lost = askOver(ctx, s, s.Nodes[len(answers):])
		if n := len(got) - 1; lost != nil && n > 0 && ctx.Err() == nil {
			got, lost = got[:n], nil
		}
		if answers = append(answers, got...); lost != nil && len(got) == 0 && len(answers) > 0 {
			answers = append(answers, Answer{Node: s.Nodes[len(answers)], Err: lost})
		}
	}
	for _, a := range answers {
		if a.Err != nil {
			return answers, fmt.Errorf("for %s: %w", a.Node, a.Err)
		}
	}
	return answers, lost
}

// askOver asks over one connection. If that is lost, the last answer says so, unless it did not come about.
func askOver(ctx context.Context, s Server, nodes []string) (answers []Answer, lost error) {
	client, err := smtpclient.Dial(ctx, "tcp", s.Address, s.Options)
	if err != nil {
		return nil, err
	}
	defer client.Close() //nolint:errcheck // it has said all that was asked for
	for _, node := range nodes {
		reply, err := client.ETRN(ctx, node)
		a := Answer{Node: node, Code: reply.Code, Err: err}
		if refused, is := errors.AsType[*smtpclient.ReplyError](err); is {
			a.Said = refused.Diagnostic()
		} else if err == nil {
			a.Said = reply.Diagnostic()
		}
		if answers = append(answers, a); !client.Alive() {
			return answers, err
		}
	}
	return answers, nil
}
