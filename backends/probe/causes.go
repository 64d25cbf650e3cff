package probe

import (
	"errors"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// What can be wrong with a server and the way to it.
var (
	NameNotFound          = Cause{"name-not-found", "DNS does not know the server's name: look at how it is written in the settings, and at the resolver of this machine."}
	PortClosed            = Cause{"port-closed", "Nothing listens there: look at the port in the settings, and at whether the server runs."}
	NoConnection          = Cause{"no-connection", "The server does not answer: look at its address in the settings, at the firewall between, and at whether it runs."}
	NoAnswer              = Cause{"no-answer", "The server has not answered in time: look at whether it runs, and at the network between."}
	NoTLS                 = Cause{"no-tls", `The server does not speak TLS here, or not in this way: look at the port and at "tls" (implicit: from the first octet, as on 993 and 465; starttls: as on 143 and 587).`}
	TLSTooOld             = Cause{"tls-too-old", "The server speaks no TLS from 1.2 on: switch it on there."}
	CertificateExpired    = Cause{"certificate-expired", "The server's certificate is over, or not good yet: renew it, and look at the clocks of both machines."}
	CertificateExpires    = Cause{"certificate-expires", "The server's certificate is over in less than 30 days: renew it."}
	CertificateName       = Cause{"certificate-name", `The certificate is for another name: use a name in it as the server's, or set "tls_name".`}
	CertificateNotTrusted = Cause{"certificate-not-trusted", `Nobody here vouches for the certificate: give its authority as "ca", or the server's key as "pin".`}
	ClientCertificate     = Cause{"client-certificate", "The server refuses the certificate that it is shown: look at whether it has expired, and at whom the server trusts."}
)

// What can be wrong with a login.
var (
	WrongCredentials = Cause{"wrong-credentials", "The name or the password is wrong, or the account is locked. Try them at the store's own server; mind that accounts are locked after a few attempts."}
	MethodNotOffered = Cause{"method-not-offered", "The server does not take logins this way: allow the method there, or choose another one in the settings."}
	BasicAuthOff     = Cause{"basic-auth-off", "The provider takes no passwords any more: use tokens (oauth in the settings; Microsoft 365 takes nothing else by IMAP and POP3, and by SMTP from the end of 2026 on unless an administrator allows it)."}
	AppPassword      = Cause{"app-password-needed", "The provider takes no account password from programs: make an application password there, or use tokens (oauth in the settings)."}
	ServicePrincipal = Cause{"service-principal", "The provider gives tokens, and its mail servers let nobody in with them. The commonest reason: New-ServicePrincipal was given the object id of the app registration, and wants that of the enterprise application (Entra admin center, Enterprise applications, the application, Object ID). " +
		"Compare with Get-ServicePrincipal; remove the wrong one, and make it again: New-ServicePrincipal -AppId … -ObjectId …; then Add-MailboxPermission -Identity mailbox -User that-object-id -AccessRights FullAccess (for SMTP: Add-RecipientPermission … -AccessRights SendAs). It may take an hour to count."}
	MailboxNotLetIn = Cause{"mailbox-not-let-in", "The application is let into other mailboxes, and not into this one: is there such a mailbox, with a licence for the protocol, and is it in the application's scope (Add-MailboxPermission, or the management scope of its role)?"}
	ProtocolOff     = Cause{"protocol-off", "The login is good, and the mailbox cannot be used by this protocol: it is switched off for it, or its licence does not have it. Get-CASMailbox mailbox shows ImapEnabled and PopEnabled; Set-CASMailbox -ImapEnabled $true, or give it a licence with Exchange Online that has IMAP (kiosk plans have none)."}
	SMTPOffTenant   = Cause{"smtp-auth-off-tenant", "SMTP AUTH is switched off for the tenant: Set-CASMailbox -Identity mailbox -SmtpClientAuthenticationDisabled $false for this mailbox alone (better), or Set-TransportConfig -SmtpClientAuthenticationDisabled $false for all."}
	SMTPOffMailbox  = Cause{"smtp-auth-off-mailbox", "SMTP AUTH is switched off for this mailbox: Set-CASMailbox -Identity mailbox -SmtpClientAuthenticationDisabled $false."}
	AccessBlocked   = Cause{"access-blocked", "A policy of the provider's (security defaults, conditional access) stands in the way: exempt the account or the application from it."}
	SendAsDenied    = Cause{"send-as-denied", "The login may not send as this mailbox: Add-RecipientPermission -Identity mailbox -Trustee login -AccessRights SendAs, or send as the login's own address."}
	DirectSendOff   = Cause{"direct-send-off", "The tenant rejects mail without a login for its own domains (RejectDirectSend): log in, or have a connector for this gateway's address."}
)

// What can be wrong with what works.
var (
	UIDPlusMissing  = Cause{"uidplus-missing", `The server has no UIDPLUS (RFC 4315): what clients delete cannot be removed alone. Set "deleted: trash" in the store's policy if the server has MOVE, or else "deleted: mark".`}
	ConnectionsOver = Cause{"connections-limit", "The server takes fewer connections at a time than are configured: the settings have to stay below its limit."}
	TooMuch         = Cause{"busy", "The server has too much to do, or limits how much it is asked: see its limits, and the settings for connections."}
	ReachesAll      = Cause{"reaches-every-mailbox", "The application opens a mailbox that it must not: nobody has scoped it. Microsoft, reading: Remove-MailboxPermission -Identity mailbox -User object-id-of-the-enterprise-application -AccessRights FullAccess, " +
		"and look for a role or a group that gives it more. Sending: take the consent for SMTP.SendAsApp away in Entra, and give the role instead, for some mailboxes (New-ManagementScope, then New-ManagementRoleAssignment -App … -Role \"Application SMTP.SendAsApp\" -CustomResourceScope …). " +
		"Try again after an hour or two. Google: a service account acts for everybody of the domain; there is no smaller scope."}
)

// meanings of failures by their kind. What a server's detail says is more, and stands beside it.
var meanings = map[backends.Kind]Cause{
	backends.Temporary:       {"store-unavailable", "See what the store's server says; if it does not answer, look at its address in the settings, at the firewall between, and at whether it runs."},
	backends.Permanent:       {"refused", "The store refuses this for good: look at the rights of the account."},
	backends.BadCredentials:  WrongCredentials,
	backends.InUse:           {"in-use", "Another session has the mailbox open: wait until it has ended."},
	backends.NotFound:        {"not-found", "There is no such mailbox, folder or message: look at how it is written."},
	backends.OverQuota:       {"over-quota", "The mailbox is full."},
	backends.TooLarge:        {"too-large", "The message is larger than the store takes."},
	backends.Throttled:       TooMuch,
	backends.Unsupported:     {"unsupported", "The store, with these settings, cannot do this: see its page for what has to be set."},
	backends.Poison:          {"message-broken", "This message cannot be rendered: clients are shown a notice in its place, and dipylon quarantine lists it."},
	backends.Uncertain:       {"answer-lost", "The server's answer was lost: look at the network between."},
	backends.AccountDisabled: {"account-disabled", "The account has to be enabled by its administrator."},
	backends.PasswordExpired: {"password-expired", "The password has to be changed at the store first."},
	backends.MailboxMoved:    {"mailbox-moved", "The mailbox is on another server: the settings have to lead there."},
}

// codes are the enhanced status codes that say more than the kind.
var codes = map[string]Cause{
	"4.7.5": {"tls-not-trusted", "The server's certificate is not trusted: give its authority (ca), its key (pin) or the name in it (tls_name), or renew it."},
	"4.4.1": NoConnection,
	"5.7.4": MethodNotOffered,
}

// texts are what servers of providers say, whatever the reply's code; the first that fits counts. Sources: learn.microsoft.com and
// MC786329 (5.7.139, 5.7.30), MC1093237 (5.7.68), the threads named in the backend for IMAP; Google's SMTP error reference.
var texts = []struct {
	pattern *lazyregexp.Regexp
	cause   Cause
}{
	{lazyregexp.New(`(?i)SmtpClientAuthentication is disabled for the Tenant`), SMTPOffTenant},
	{lazyregexp.New(`(?i)SmtpClientAuthentication is disabled for the Mailbox`), SMTPOffMailbox},
	{lazyregexp.New(`(?i)\b5\.7\.30\b|basic authentication is (not supported|disabled)|\bBasicAuthBlocked\b`), BasicAuthOff},
	{lazyregexp.New(`(?i)\b5\.7\.68\b`), DirectSendOff},
	{lazyregexp.New(`(?i)SendAsDenied|\b5\.7\.60\b|\b5\.2\.252\b`), SendAsDenied},
	{lazyregexp.New(`(?i)STOREDRV.*logon`), ServicePrincipal},
	{lazyregexp.New(`(?i)security defaults|conditional access|locked by your organization`), AccessBlocked},
	{lazyregexp.New(`(?i)authenticated but not connected|\b(IMAP|POP3?)\b.{0,30}\b(disabled|not enabled)|not enabled for IMAP`), ProtocolOff},
	{lazyregexp.New(`(?i)application-?specific password|app(lication)? password`), AppPassword},
	{lazyregexp.New(`(?i)(too many|maximum number of|concurrent|simultaneous) .{0,20}connections?`), ConnectionsOver},
}

// ByText finds the cause in what a server says.
func ByText(text string) (Cause, bool) {
	for _, t := range texts {
		if t.pattern.MatchString(text) {
			return t.cause, true
		}
	}
	return Cause{}, false
}

// Said gives a failure the cause that its text speaks of.
func Said(err error) error {
	if err == nil {
		return nil
	}
	if cause, is := ByText(err.Error()); is {
		return Because(cause, err)
	}
	return err
}

// ByReply gives a failure of a submission server its cause. byToken: a token of the gateway's own was shown.
func ByReply(err error, reply smtpclient.Reply, byToken bool) error {
	if cause, is := ByText(strings.Join(reply.Lines, " ")); is {
		return Because(cause, err)
	}
	switch status, _ := reply.Enhanced(); {
	case strings.HasSuffix(status, ".7.139"):
		return Because(AccessBlocked, err)
	case byToken && reply.Code/100 == 5:
		return Because(ServicePrincipal, err)
	case reply.Code == 534:
		return Because(AppPassword, err)
	case reply.Code == 504, reply.Code == 538:
		return Because(MethodNotOffered, err)
	case reply.Code/100 == 5:
		return Because(WrongCredentials, err)
	}
	return Because(TooMuch, err)
}

// ByToken gives a failure of asking for a token its cause: its kind in one word ("secret-expired").
func ByToken(err error) error {
	wrong, is := errors.AsType[*oauth.Error](err)
	if !is {
		return err
	}
	name := map[oauth.Kind]string{oauth.Outage: "token-endpoint", oauth.Untrusted: "token-endpoint-not-trusted", oauth.Throttled: "token-endpoint-throttles", oauth.Refused: "token-refused"}[wrong.Kind]
	if name == "" {
		name = strings.ReplaceAll(string(wrong.Kind), " ", "-")
	}
	advice := wrong.Advice()
	return Because(Cause{name, strings.ToUpper(advice[:1]) + advice[1:] + "."}, err)
}
