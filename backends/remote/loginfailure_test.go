package remote_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/remote"
)

// TestRefusedLogins: only a wrong password is told as one, what passes as what passes, and what
// the server does not allow for good, with a reason.
func TestRefusedLogins(t *testing.T) {
	for _, tt := range []struct {
		reply, want string
		says        string
	}{
		{"535 5.7.8 Error: authentication failed", "bad credentials 5.7.8", ""},
		{"535 Authentication failed", "bad credentials 5.7.8", ""},
		{"535 5.7.3 Authentication unsuccessful", "bad credentials 5.7.8", ""},
		{"535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", "bad credentials 5.7.8", ""},
		{"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. See elsewhere.", "permanent 5.7.139", "administrator"},
		{"535 5.7.139 Authentication unsuccessful, the request did not meet the criteria.", "permanent 5.7.139", "administrator"},
		{"535 SmtpClientAuthentication is disabled for the Tenant", "permanent 5.7.139", "administrator"},
		{"550 5.7.30 Basic authentication is not supported", "permanent 5.7.30", "administrator"},
		{"525 5.7.13 Disabled", "permanent 5.7.13", "disabled"},
		{"525 no", "permanent 5.7.13", "disabled"},
		{"535 5.7.0 your account has been disabled", "permanent 5.7.13", "disabled"},
		{"534-5.7.9 Application-specific password required.\n534 5.7.9 For more information, see elsewhere.", "permanent 5.7.9", "application password"},
		{"534-5.7.14 Please log in via your web browser and\n534 5.7.14 then try again.", "permanent 5.7.14", "web page"},
		{"534 no", "permanent 5.7.9", "application password"},
		{"538 5.7.11 Encryption required", "permanent 5.7.11", "encryption"},
		{"454 4.7.0 Temporary authentication failure", "temporary 4.7.0", ""},
		{"421 4.7.0 Too many logins", "throttled 4.7.0", ""},
		{"535 5.7.0 Too many login attempts, please try again later", "throttled 4.7.0", ""},
		{"504 5.5.4 Unrecognized authentication type", "unsupported 5.5.4", ""},
	} {
		t.Run(tt.reply, func(t *testing.T) {
			f := remote.LoginFailure(replyOf(tt.reply))
			if got := fmt.Sprintf("%s %s", f.Kind, f.Reply().Code); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if !strings.Contains(f.Text, tt.says) || tt.says == "" && f.Text != "" || strings.Contains(f.Text, "elsewhere") {
				t.Errorf("the client is told %q", f.Text)
			}
			if !strings.Contains(f.Detail, tt.reply[4:6]) {
				t.Errorf("the log is told %q", f.Detail)
			}
			if f.Kind == backends.Permanent && f.Temporary() {
				t.Error("told as temporary")
			}
		})
	}
}

func replyOf(text string) (r smtpclient.Reply) {
	for line := range strings.SplitSeq(text, "\n") {
		_, _ = fmt.Sscanf(line, "%d", &r.Code)
		r.Lines = append(r.Lines, line[4:])
	}
	return r
}
