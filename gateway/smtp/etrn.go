package smtp

import (
	"context"
	"fmt"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// Dequeues is what a [Session] implements that has mail wait until it is asked for, and starts it on its way for those who ask
// (ETRN, RFC 1985). It never comes over the connection of who has asked.
type Dequeues interface {
	// Dequeues says whether there is such mail, and whether the client may ask for some of it: ETRN is offered to it then.
	Dequeues() (exists, may bool)
	// Dequeue starts what waits for a node. An [*Error] with the code 459 says that the client may not ask for that, 458 that it cannot
	// be started now, 530 that it has to log in.
	Dequeue(ctx context.Context, node Node) (Dequeued, error)
}

// Node is what ETRN names (RFC 1985 §5.3): a domain, with all below it, or a queue.
type Node struct {
	Domain string // in lower-case A-labels
	Below  bool   // "@": with the domains below it
	Queue  string // "#": the name of a queue; Domain is empty then
}

// String is the node as a command has it.
func (n Node) String() string {
	switch {
	case n.Queue != "":
		return "#" + n.Queue
	case n.Below:
		return "@" + n.Domain
	}
	return n.Domain
}

// Dequeued is what ETRN has started.
type Dequeued struct {
	Messages int  // that wait for the node
	More     bool // there are more: they were not counted to the end
	Already  bool // it was started a moment ago, and nothing was counted
}

// queueMost bounds the name of a queue, in octets.
const queueMost = 64

// parseNode reads the argument of ETRN.
func parseNode(text string) (Node, bool) {
	if name, is := strings.CutPrefix(text, "#"); is {
		strange := strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
		return Node{Queue: name}, name != "" && len(name) <= queueMost && !strange
	}
	name, below := strings.CutPrefix(text, "@")
	domain, err := address.Domain(name)
	return Node{Domain: domain, Below: below}, err == nil
}

// etrn is RFC 1985 §5.
func (s *session) etrn(args string) reply {
	backend, exists, _ := s.dequeues()
	switch {
	case !exists:
		return refuse(502, "5.5.1", "command not implemented: no mail waits here until it is asked for")
	case !s.esmtp:
		return refuse(503, "5.5.1", "bad sequence of commands: EHLO comes first")
	case s.tx != nil:
		return refuse(503, "5.5.1", "bad sequence of commands: ETRN is not permitted during a mail transaction")
	}
	node, ok := parseNode(args)
	if !ok {
		return refuse(501, "5.5.4", "syntax error: ETRN needs a domain, @ and a domain, or # and the name of a queue")
	}
	ctx, cancel := within(s.ctx, s.server.timeouts.Backend)
	defer cancel()
	started, err := backend.Dequeue(ctx, node)
	if err != nil {
		r := failure(err)
		r.fault = r.code/100 == 5 || r.code == 459 // nobody tries all the domains that there are
		return r
	}
	return dequeued(node, started)
}

// dequeued is the reply to what was started.
func dequeued(node Node, started Dequeued) reply {
	switch {
	case started.Already:
		return ok(250, "2.0.0", "OK, queuing for node "+node.String()+" started")
	case started.More:
		return ok(252, "2.0.0", "OK, pending messages for node "+node.String()+" started")
	case started.Messages == 0:
		return ok(251, "2.0.0", "OK, no messages waiting for node "+node.String())
	}
	return ok(253, "2.0.0", fmt.Sprintf("OK, %d pending messages for node %s started", started.Messages, node))
}

// dequeues says what the backend has of ETRN for the client.
func (s *session) dequeues() (backend Dequeues, exists, may bool) {
	backend, is := s.backend.(Dequeues)
	if !is {
		return nil, false, false
	}
	exists, may = backend.Dequeues()
	return backend, exists, may
}
