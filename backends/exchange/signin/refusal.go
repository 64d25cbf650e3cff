package signin

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// Why a server refuses a login that has the right password, as far as anybody can tell.
var (
	// ErrBinding says that the channel binding is not the one that the server wants.
	ErrBinding = errors.New("the channel binding is another one than the server's: a proxy on the way must show the server's own certificate")
	// ErrTicket says that the server refuses a ticket of Kerberos.
	ErrTicket = errors.New("the server refuses the ticket")
	// ErrNoTicket says that Kerberos was to be used, and that there is no ticket to get.
	ErrNoTicket = errors.New("there is no ticket of Kerberos to get")
)

// What clients are told where their password is not what is wrong.
const sayMethod = "the mail store does not allow this way to log in, tell your administrator"

// refuse is the failure of a credential that the server has refused.
func (l *lane) refuse(response *http.Response, w way) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, refusalMost))
	drain(response)
	f := backends.Fail(backends.BadCredentials, "%s has refused the login by %s%s", l.login.server.host, w.method, suspicions[w.method])
	if status, known := windowsStatus(response.Header, string(text)); known {
		f = backends.Fail(status.kind, "%s has refused the login by %s: %s", l.login.server.host, w.method, status.text)
		if status.kind == backends.Permanent {
			f = backends.Fail(status.kind, "%s has refused the login by %s: %s: %w", l.login.server.host, w.method, status.text, ErrBinding).Say(sayMethod)
		}
		if !status.wrong {
			return l.login.refuse(f)
		}
	}
	return l.login.turnDown(f)
}

// suspicions are what else a 401 may mean that says nothing.
var suspicions = map[Method]string{
	Basic: ". The password may also have expired, or the account be locked: Windows does not tell",
	NTLM: ". The password may also have expired, or the account be locked: Windows does not tell. If the password is right elsewhere, " +
		"the server may want another channel binding (Extended Protection): a proxy on the way must show the server's own certificate",
}

// refusalMost is how much of the text of a refusal is read.
const refusalMost = 16 << 10

// status is what Windows tells of a login.
type status struct {
	kind  backends.Kind
	text  string
	wrong bool // the password is
}

// statuses are NTSTATUS values (MS-ERREF §2.3.1) and HRESULTs (§2.1.1) of failed logins. Of an account that is locked or disabled
// nobody has verified the password.
var statuses = map[uint32]status{
	0xC000006D: {backends.BadCredentials, "the user name or the password is wrong (STATUS_LOGON_FAILURE)", true},
	0x8009030C: {backends.BadCredentials, "the user name or the password is wrong (SEC_E_LOGON_DENIED)", true},
	0xC0000071: {backends.PasswordExpired, "the password has expired (STATUS_PASSWORD_EXPIRED)", false},
	0x80070532: {backends.PasswordExpired, "the password has expired (ERROR_PASSWORD_EXPIRED)", false},
	0xC0000224: {backends.PasswordExpired, "the password must be changed first (STATUS_PASSWORD_MUST_CHANGE)", false},
	0x80070773: {backends.PasswordExpired, "the password must be changed first (ERROR_PASSWORD_MUST_CHANGE)", false},
	0xC0000234: {backends.BadCredentials, "the account is locked (STATUS_ACCOUNT_LOCKED_OUT)", false},
	0x80070775: {backends.BadCredentials, "the account is locked (ERROR_ACCOUNT_LOCKED_OUT)", false},
	0xC0000072: {backends.BadCredentials, "the account is disabled (STATUS_ACCOUNT_DISABLED)", false},
	0x80070533: {backends.BadCredentials, "the account is disabled (ERROR_ACCOUNT_DISABLED)", false},
	0xC0000193: {backends.BadCredentials, "the account has expired (STATUS_ACCOUNT_EXPIRED)", false},
	0x80070701: {backends.BadCredentials, "the account has expired (ERROR_ACCOUNT_EXPIRED)", false},
	0xC000035B: {backends.Permanent, "STATUS_BAD_BINDINGS", false},
	0x80090346: {backends.Permanent, "SEC_E_BAD_BINDINGS", false},
}

var hexadecimal = lazyregexp.New(`(?i)\b(?:0x)?([89c][0-9a-f]{7})\b`)

// windowsStatus finds a status in a refusal: IIS shows it where it shows errors in detail, and proxies in fields of their own. An
// administrator sees what it says; of who asks it is a stranger's, so that it can only make a refusal more precise.
func windowsStatus(h http.Header, text string) (status, bool) {
	for name, values := range h {
		if strings.HasPrefix(name, "X-") {
			text += " " + strings.Join(values, " ")
		}
	}
	for _, found := range hexadecimal.FindAllStringSubmatch(text, 100) {
		code, err := strconv.ParseUint(found[1], 16, 32)
		if s, known := statuses[uint32(code)]; err == nil && known {
			return s, true
		}
	}
	return status{}, false
}
