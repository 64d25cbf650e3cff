package backends

import (
	"strings"
	"testing"
)

func TestCheckVerdicts(t *testing.T) {
	asked := To("a@x.example", "b@x.example")
	no := Fail(NotFound, "no")
	for _, test := range []struct {
		name     string
		verdicts []Verdict
		fault    string // empty: none
	}{
		{"taken and refused", []Verdict{{Recipient: "a@x.example"}, {Recipient: "b@x.example", Failure: no}}, ""},
		{"actions that say the same", []Verdict{{Recipient: "a@x.example", Action: ActionRelayed}, {Recipient: "b@x.example", Failure: no, Action: ActionFailed}}, ""},
		{"delayed, with and without a failure", []Verdict{{Recipient: "a@x.example", Action: ActionDelayed}, {Recipient: "b@x.example", Failure: no, Action: ActionDelayed}}, ""},
		{"none", nil, "0 verdicts for 2"},
		{"one too few", []Verdict{{Recipient: "a@x.example"}}, "1 verdicts for 2"},
		{"one too many", make([]Verdict, 3), "3 verdicts for 2"},
		{"another order", []Verdict{{Recipient: "b@x.example"}, {Recipient: "a@x.example"}}, "verdict 1 is about"},
		{"another spelling", []Verdict{{Recipient: "a@x.example"}, {Recipient: "B@x.example"}}, "verdict 2 is about"},
		{"delivered with a failure", []Verdict{{Recipient: "a@x.example"}, {Recipient: "b@x.example", Failure: no, Action: ActionDelivered}}, "taken"},
		{"relayed with a failure", []Verdict{{Recipient: "a@x.example"}, {Recipient: "b@x.example", Failure: no, Action: ActionRelayed}}, "taken"},
		{"expanded with a failure", []Verdict{{Recipient: "a@x.example"}, {Recipient: "b@x.example", Failure: no, Action: ActionExpanded}}, "taken"},
		{"failed without a failure", []Verdict{{Recipient: "a@x.example", Action: ActionFailed}, {Recipient: "b@x.example"}}, "no failure"},
		{"no action", []Verdict{{Recipient: "a@x.example", Action: 6}, {Recipient: "b@x.example"}}, "RFC 3464"},
	} {
		t.Run(test.name, func(t *testing.T) {
			switch err := CheckVerdicts(asked, test.verdicts); {
			case test.fault == "" && err != nil:
				t.Error(err)
			case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)):
				t.Errorf("got %v, want %q in it", err, test.fault)
			}
		})
	}
}
