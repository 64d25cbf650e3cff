package notice_test

import (
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/notice"
)

func TestCopies(t *testing.T) {
	delayed := notice.Outcome{Action: backends.ActionDelayed, Code: "4.4.1"}
	for name, c := range map[string]struct {
		copies   notice.Copies
		outcomes []notice.Outcome
		want     bool
	}{
		"nobody":                      {notice.Copies{Classes: []string{"5"}}, []notice.Outcome{failed("a", "5.1.1", "")}, false},
		"all":                         {notice.Copies{To: "pm@near.example"}, []notice.Outcome{failed("a", "5.1.1", "")}, true},
		"a delay":                     {notice.Copies{To: "pm@near.example"}, []notice.Outcome{delayed}, false},
		"a failure beside a delay":    {notice.Copies{To: "pm@near.example"}, []notice.Outcome{delayed, failed("a", "", "")}, true},
		"to the sender":               {notice.Copies{To: "ada@near.example"}, []notice.Outcome{failed("a", "5.1.1", "")}, false},
		"the class":                   {notice.Copies{To: "pm@near.example", Classes: []string{"5.7", "5.1"}}, []notice.Outcome{failed("a", "5.1.1", "")}, true},
		"the code":                    {notice.Copies{To: "pm@near.example", Classes: []string{"5.1.1"}}, []notice.Outcome{failed("a", "5.1.1", "")}, true},
		"another class":               {notice.Copies{To: "pm@near.example", Classes: []string{"5.1.1", "5.7"}}, []notice.Outcome{failed("a", "5.1.10", "")}, false},
		"one of them":                 {notice.Copies{To: "pm@near.example", Classes: []string{"5.4"}}, []notice.Outcome{failed("a", "5.1.1", ""), failed("b", "5.4.6", "")}, true},
		"was tried for too long":      {notice.Copies{To: "pm@near.example", Classes: []string{"4.4.7"}}, []notice.Outcome{failed("a", "4.4.7", "")}, true},
		"a code that has no sub-code": {notice.Copies{To: "pm@near.example", Classes: []string{"5"}}, []notice.Outcome{failed("a", "", "")}, true},
	} {
		if got := c.copies.Wants(report(c.outcomes...)); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
