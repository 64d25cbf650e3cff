package smtp

import (
	"slices"
	"strings"
	"testing"
)

func TestParsePriority(t *testing.T) {
	for in, want := range map[string]int{"0": 0, "9": 9, "-9": -9, "3": 3, "-1": -1} {
		if got, err := parsePriority(in); got != want || err != nil {
			t.Errorf("%s: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "10", "-10", "+1", "-0", "03", "1.0", "a", "9999999999999999999"} {
		if got, err := parsePriority(in); got != 0 || err == nil {
			t.Errorf("%q: %d", in, got)
		}
	}
}

// TestPriority: MT-PRIORITY is offered and taken where the backend goes by it, within what the client may ask for, and
// is in the trace line; elsewhere it is not known.
func TestPriority(t *testing.T) {
	most := 3
	backend := &fake{priority: &most}
	c := talk(t, testServer(backend))
	c.expect("220")
	c.send("EHLO c\r\n")
	if _, lines := c.reply(); !slices.Contains(lines, "MT-PRIORITY") {
		t.Errorf("EHLO: %q", lines)
	}
	for _, step := range []struct{ command, want string }{
		{"MAIL FROM:<a@b.example> MT-PRIORITY", "501 5.5.4"},
		{"MAIL FROM:<a@b.example> MT-PRIORITY=10", "501 5.5.4"},
		{"MAIL FROM:<a@b.example> MT-PRIORITY=-0", "501 5.5.4"},
		{"MAIL FROM:<a@b.example> MT-PRIORITY=3", "250 2.1.0"},
		{"RSET", "250"},
		{"MAIL FROM:<a@b.example> MT-PRIORITY=-9", "250 2.1.0"},
		{"RSET", "250"},
		{"MAIL FROM:<a@b.example> MT-PRIORITY=9", "250 2.3.6 3 is the priority"},
		{"RCPT TO:<c@mx.example>", "250"},
		{"DATA", "354"},
		{"Subject: x\r\n\r\nx\r\n.", "250"},
		{"QUIT", "221"},
	} {
		c.send(step.command + "\r\n")
		c.expect(step.want)
	}
	c.closed()
	var got []int
	for _, o := range backend.mails {
		got = append(got, o.Priority)
	}
	if !slices.Equal(got, []int{3, -9, 3}) {
		t.Errorf("the backend was told %v", got)
	}
	if m := backend.taken(); len(m) != 1 || !strings.Contains(m[0].trace, "for <c@mx.example> PRIORITY 3;") {
		t.Errorf("the trace is %+v", m)
	}

	c = talk(t, testServer(&fake{}))
	c.expect("220")
	c.send("EHLO c\r\n")
	if _, lines := c.reply(); slices.Contains(lines, "MT-PRIORITY") {
		t.Errorf("EHLO: %q", lines)
	}
	c.send("MAIL FROM:<a@b.example> MT-PRIORITY=3\r\n")
	c.expect("555 5.5.4")
}
