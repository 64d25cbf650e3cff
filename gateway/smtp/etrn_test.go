package smtp

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// TestETRN: what a node is, and the replies of RFC 1985 §5.
func TestETRN(t *testing.T) {
	var asked []string
	backend := &fake{dequeue: func(n Node) (Dequeued, error) {
		asked = append(asked, n.String())
		switch n.Domain {
		case "none.example":
			return Dequeued{}, nil
		case "more.example":
			return Dequeued{Messages: 1000, More: true}, nil
		case "again.example":
			return Dequeued{Already: true}, nil
		case "others.example":
			return Dequeued{}, &Error{Code: 459, Enhanced: "4.7.1", Text: "node others.example not allowed"}
		case "broken.example":
			return Dequeued{}, errors.New("the disk is gone")
		}
		return Dequeued{Messages: 3}, nil
	}}
	c := talk(t, testServer(backend))
	c.expect("220")
	for _, step := range []struct{ command, want string }{
		{"ETRN office.example", "503 5.5.1"},
		{"HELO c", "250"},
		{"ETRN office.example", "503 5.5.1"},
		{"EHLO c", "250"},
		{"ETRN office.example", "253 2.0.0 OK, 3 pending messages for node office.example started"},
		{"ETRN Office.Example  ", "253 2.0.0 OK, 3 pending messages for node office.example started"},
		{"ETRN bücher.example", "253 2.0.0 OK, 3 pending messages for node xn--bcher-kva.example started"},
		{"ETRN @office.example", "253 2.0.0 OK, 3 pending messages for node @office.example started"},
		{"ETRN #office", "253 2.0.0 OK, 3 pending messages for node #office started"},
		{"ETRN none.example", "251 2.0.0 OK, no messages waiting for node none.example"},
		{"ETRN more.example", "252 2.0.0 OK, pending messages for node more.example started"},
		{"ETRN again.example", "250 2.0.0 OK, queuing for node again.example started"},
		{"ETRN others.example", "459 4.7.1 node others.example not allowed"},
		{"ETRN broken.example", "451 4.3.0"},
		{"ETRN", "501 5.5.4"},
		{"ETRN @", "501 5.5.4"},
		{"ETRN #", "501 5.5.4"},
		{"ETRN #a b", "501 5.5.4"},
		{"ETRN [192.0.2.1]", "501 5.5.4"},
		{"ETRN a..b", "501 5.5.4"},
		{"ETRN office.example; rm -rf /", "501 5.5.4"},
		{"ETRN " + strings.Repeat("a", 600), "500 5.5.2"},
		{"MAIL FROM:<a@b.example>", "250"},
		{"ETRN office.example", "503 5.5.1"},
		{"RSET", "250"},
		{"ETRN office.example", "253"},
		{"QUIT", "221"},
	} {
		c.send(step.command + "\r\n")
		c.expect(step.want)
	}
	c.closed()
	want := "office.example office.example xn--bcher-kva.example @office.example #office none.example more.example again.example others.example broken.example office.example"
	if got := strings.Join(asked, " "); got != want {
		t.Errorf("asked for were\n%s, not\n%s", got, want)
	}
}

// TestETRNOffered: it is told with EHLO to those who may ask, and is no command where nobody may.
func TestETRNOffered(t *testing.T) {
	started := func(Node) (Dequeued, error) { return Dequeued{}, nil }
	for name, c := range map[string]struct {
		backend *fake
		offered bool
		reply   string
	}{
		"who may":     {&fake{dequeue: started}, true, "251"},
		"who may not": {&fake{dequeue: started, mayNot: true}, false, "251"}, // the backend refuses it
		"nobody":      {&fake{}, false, "502 5.5.1"},
	} {
		t.Run(name, func(t *testing.T) {
			client := talk(t, testServer(c.backend))
			client.expect("220")
			client.send("EHLO c\r\n")
			if _, lines := client.reply(); slices.Contains(lines, "ETRN") != c.offered {
				t.Errorf("EHLO: %q", lines)
			}
			client.send("ETRN office.example\r\n")
			client.expect(c.reply)
		})
	}
}

// TestETRNOften: who asks again and again, or for what is others', is hung up on.
func TestETRNOften(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		most int
	}{
		"for mail":         {nil, 150},
		"for others' mail": {&Error{Code: 459, Enhanced: "4.7.1", Text: "not allowed"}, 30},
	} {
		t.Run(name, func(t *testing.T) {
			client := talk(t, testServer(&fake{dequeue: func(Node) (Dequeued, error) { return Dequeued{}, c.err }}))
			client.expect("220")
			client.send("EHLO c\r\n")
			client.reply()
			for n := 0; ; n++ {
				client.send("ETRN office.example\r\n")
				if code, _ := client.reply(); code == 421 {
					return
				}
				if n > c.most {
					t.Fatal("it goes on")
				}
			}
		})
	}
}

// FuzzNode: a node is a domain in its one form, or a name that is no more than printable; it is what it was when it is read again.
func FuzzNode(f *testing.F) {
	for _, seed := range []string{"office.example", "@office.example", "#office", "@", "#", "[192.0.2.1]", "ü.example", "@#a", "#@a", "a b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		node, ok := parseNode(text)
		if !ok {
			return
		}
		if again, ok := parseNode(node.String()); !ok || again != node {
			t.Errorf("%q is %+v, which is %+v, %t", text, node, again, ok)
		}
		if domain, err := address.Domain(node.Domain); node.Queue == "" && (err != nil || domain != node.Domain) {
			t.Errorf("%q has the domain %q", text, node.Domain)
		}
		if strings.ContainsFunc(node.String(), func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q is told as %q", text, node)
		}
	})
}
