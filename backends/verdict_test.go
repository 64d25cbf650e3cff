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

func TestCheckTrack(t *testing.T) {
	no := Fail(NotFound, "no")
	for _, test := range []struct {
		name    string
		verdict Verdict
		ok      bool
	}{
		{"nothing", Verdict{}, true},
		{"a folder", Verdict{Destination: "Archive/Grüße"}, true},
		{"a server", Verdict{Destination: "dns; mx.x.example", RemoteDiagnostic: "smtp; 250 2.0.0 ok"}, true},
		{"a refusal", Verdict{Failure: no, RemoteDiagnostic: "smtp; 550 5.1.1 no such user"}, true},
		{"a bare reply", Verdict{Failure: no, RemoteDiagnostic: "smtp;450"}, true},
		{"another type", Verdict{Failure: no, RemoteDiagnostic: "X-Notes; Error 17"}, true},
		{"uncertain behind a reply", Verdict{Failure: Fail(Uncertain, "lost"), RemoteDiagnostic: "smtp; 250 2.1.5 ok"}, true},
		{"delayed by the server", Verdict{Action: ActionDelayed, RemoteDiagnostic: "smtp; 450 4.2.0 later"}, true},
		{"two lines", Verdict{Destination: "a\nb"}, false},
		{"too long", Verdict{Destination: strings.Repeat("a", 256)}, false},
		{"a diagnostic that is too long", Verdict{Failure: no, RemoteDiagnostic: "smtp; 550 " + strings.Repeat("a", 512)}, false},
		{"a diagnostic in two lines", Verdict{Failure: no, RemoteDiagnostic: "smtp; 550 a\r\n550 b"}, false},
		{"no type", Verdict{Failure: no, RemoteDiagnostic: "550 5.1.1 no"}, false},
		{"no text", Verdict{Failure: no, RemoteDiagnostic: "smtp; "}, false},
		{"no reply", Verdict{Failure: no, RemoteDiagnostic: "smtp; no such user"}, false},
		{"a reply of another class", Verdict{Failure: no, RemoteDiagnostic: "smtp; 354 go on"}, false},
		{"taken and failed", Verdict{Failure: no, RemoteDiagnostic: "smtp; 250 ok"}, false},
		{"refused and taken", Verdict{RemoteDiagnostic: "SMTP; 550 no"}, false},
	} {
		if err := test.verdict.CheckTrack(); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
