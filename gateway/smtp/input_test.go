package smtp

import (
	"bytes"
	"strings"
	"testing"
)

// TestInputForgets: a buffer that goes back to the others has nothing in it of the session that had it, also where shorter things came
// behind longer ones.
func TestInputForgets(t *testing.T) {
	for name, leave := range map[string]func(*input){"grown": (*input).grow, "shrunk": (*input).shrink, "released": (*input).release} {
		in := newInput(newPools())
		in.grow()
		lent := *in.lent
		for _, came := range []string{strings.Repeat("secret", 1000), "QUIT\r\n"} {
			if err := in.fill(strings.NewReader(came)); err != nil {
				t.Fatal(err)
			}
			in.consume(len(came))
		}
		if !bytes.Contains(lent, []byte("secret")) {
			t.Fatal("nothing is left of what came first: the test tests nothing")
		}
		if leave(in); bytes.ContainsFunc(lent, func(r rune) bool { return r != 0 }) {
			t.Errorf("%s: the buffer has %q still", name, bytes.Trim(lent, "\x00"))
		}
	}
}
