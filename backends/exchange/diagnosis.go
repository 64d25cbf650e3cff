package exchange

import (
	"errors"
	"net/http"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/kerberos"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/probe"
)

// What can be wrong. Those that [probe] has as well name the settings of this store, or what is to be done at an Exchange server.
var (
	noServer = probe.Cause{Name: "no-server-found", Advice: "Autodiscover has found no server that a password may go to: see in the detail what came of each. Set \"url\", or list the host that is right under \"autodiscover\"; " +
		"on the server, Get-ClientAccessService has AutoDiscoverServiceInternalUri, and Get-MapiVirtualDirectory the URLs."}
	nameNotFound          = probe.Cause{Name: "name-not-found", Advice: `DNS does not know the server's name: look at "url", and at the resolver of this machine.`}
	portClosed            = probe.Cause{Name: "port-closed", Advice: `Nothing listens there: look at the port in "url", and at whether IIS runs on the server.`}
	noConnection          = probe.Cause{Name: "no-connection", Advice: `The server does not answer: look at "url", at the firewall between, and at whether the server runs.`}
	noTLS                 = probe.Cause{Name: "no-tls", Advice: `The server does not speak TLS on this port: look at "url".`}
	tlsTooOld             = probe.Cause{Name: "tls-too-old", Advice: "The server speaks no TLS from 1.2 on: switch it on there (SCHANNEL's registry keys; Exchange 2013 and later have it)."}
	certificateExpired    = probe.Cause{Name: "certificate-expired", Advice: "The server's certificate is over, or not good yet: renew it, and look at the clocks of both machines."}
	certificateExpires    = probe.Cause{Name: "certificate-expires", Advice: "The server's certificate is over in less than 30 days: renew it."}
	certificateName       = probe.Cause{Name: "certificate-name", Advice: `The certificate is for another name: use a name in it for "url", or set "tls_name".`}
	certificateNotTrusted = probe.Cause{Name: "certificate-not-trusted", Advice: `Nobody here vouches for the certificate: give its authority as "ca", or the server's key as "pin".`}
	redirected            = probe.Cause{Name: "redirected", Advice: `The server leads elsewhere, and nobody follows with a password: set "url" to the server itself.`}
	mapiOff               = probe.Cause{Name: "mapi-http-off", Advice: "MAPI over HTTP is not there: Set-OrganizationConfig -MapiHttpEnabled $true (Exchange 2013 SP1 and later; earlier ones do not have it), " +
		"and Get-MapiVirtualDirectory for the end point."}
	mapiForbidden = probe.Cause{Name: "mapi-http-forbidden", Advice: "MAPI over HTTP is not for this account or address: Set-CASMailbox -MapiHttpEnabled $true, and client access rules."}
	rpcOff        = probe.Cause{Name: "rpc-off", Advice: `The endpoint mapper does not know the service: look at whether it is started (Microsoft Exchange RPC Client Access, Address Book Service; ` +
		`the Information Store up to 2007), and at "rpc". Exchange 2013 and later do not have it: protocol: auto.`}
	ewsOff      = probe.Cause{Name: "ews-off", Advice: "EWS is not there, or not for this account: Get-WebServicesVirtualDirectory for the end point, Set-CASMailbox -EwsEnabled $true, and client access rules."}
	serverBusy  = probe.Cause{Name: "server-busy", Advice: "The server has too much to do, or throttles the account: see its load, and Get-ThrottlingPolicy."}
	serverFails = probe.Cause{Name: "server-fails", Advice: "The server has an error of its own: see its event log and the health of its MAPI application pool."}

	methodNotOffered = probe.Cause{Name: "method-not-offered", Advice: "Allow the method at the MAPI front end (Set-MapiVirtualDirectory -IISAuthenticationMethods NTLM, Negotiate, Basic), " +
		`or choose one that it offers with "authentication".`}
	wrongPassword = probe.Cause{Name: "wrong-password", Advice: "The password or the name is wrong, or the account is locked or its password expired, which Windows does not tell apart here: " +
		`see Get-ADUser -Properties LockedOut, PasswordExpired; look at "username" and "domain", which make the login name. Mind that accounts are locked after a few attempts.`}
	servicePassword = probe.Cause{Name: "service-password", Advice: `The service account is refused: look at "service" in the settings, and at whether the account is locked.`}
	bindingRefused  = probe.Cause{Name: "binding-refused", Advice: "The password is right, and the login is refused for its channel binding: TLS ends at a proxy with another certificate than Exchange's. " +
		`Give both the same certificate, or lead "url" past the proxy (Extended Protection).`}
	ticketRefused = probe.Cause{Name: "ticket-refused", Advice: "The KDC takes the password, and the server not its ticket: the service's name is not on the account that Exchange runs by " +
		`(setspn -Q HTTP/host; the alternate service account), or the clocks differ. Set "spn" where the name is another one, or authentication: ntlm.`}
	noTicket        = probe.Cause{Name: "no-ticket", Advice: `Kerberos gives no ticket: look at "realm", "kdc" (TCP, port 88) and "spn"; authentication: auto goes on with NTLM then.`}
	accountLocked   = probe.Cause{Name: "account-locked", Advice: "The account is locked, disabled or expired: Unlock-ADAccount, Enable-ADAccount."}
	passwordExpired = probe.Cause{Name: "password-expired", Advice: "The password has to be changed first, at a workstation or in Outlook on the web."}
	accountDisabled = probe.Cause{Name: "account-disabled", Advice: "The account or its mailbox is disabled: Enable-ADAccount, Enable-Mailbox."}

	mailboxUnknown = probe.Cause{Name: "mailbox-unknown", Advice: "The address book has no such mailbox, or hides it: look at how it is written (Get-Recipient), at HiddenFromAddressListsEnabled, and at \"domains\" of the store."}
	noPermission   = probe.Cause{Name: "no-permission", Advice: "The account may not open this mailbox: Add-MailboxPermission -Identity mailbox -User account -AccessRights FullAccess."}
	mailboxMoved   = probe.Cause{Name: "mailbox-moved", Advice: `The mailbox is on another server: lead "url" there.`}
	mailboxMoving  = probe.Cause{Name: "mailbox-moving", Advice: "The mailbox is being moved: wait until that is done (Get-MoveRequest)."}
	folderNotFound = probe.Cause{Name: "folder-not-found", Advice: "There is no such folder below the top of the mailbox: look at how it is written."}
	messageBroken  = probe.Cause{Name: "message-broken", Advice: "This message cannot be made mail: clients are shown a notice in its place, and the others are not harmed."}
	unexpected     = probe.Cause{Name: "unexpected", Advice: "See what the server says in the detail, and the log of the gateway."}
)

// statuses of HTTP that say what is wrong with an end point.
var statuses = map[int]probe.Cause{
	http.StatusNotFound: mapiOff, http.StatusMethodNotAllowed: mapiOff, http.StatusForbidden: mapiForbidden,
	http.StatusServiceUnavailable: serverBusy, http.StatusTooManyRequests: serverBusy,
}

// codes of the protocol that say more than the kind of their failure.
var codeDiagnoses = []struct {
	code rop.Code
	is   probe.Cause
}{
	{rop.UnknownUser, mailboxUnknown},
	{rop.AccessDenied, noPermission},
	{rop.LoginPerm, noPermission},
	{rop.ProfileNotConfigured, noPermission},
	{rop.LogonFailed, noPermission},
	{rop.WrongServer, mailboxMoved},
	{rop.InTransit, mailboxMoving},
	{rop.MailboxDisabled, accountDisabled},
	{rop.ServerBusy, serverBusy},
	{rop.TooBusy, serverBusy},
	{rop.ServerPaused, serverBusy},
}

// loginDiagnoses are what a login fails with that has the right password.
var loginDiagnoses = []struct {
	err error
	is  probe.Cause
}{
	{signin.ErrBinding, bindingRefused},
	{signin.ErrTicket, ticketRefused},
	{signin.ErrNoTicket, noTicket},
}

var kindDiagnoses = map[backends.Kind]probe.Cause{
	backends.BadCredentials: wrongPassword, backends.Throttled: serverBusy, backends.PasswordExpired: passwordExpired,
	backends.AccountDisabled: accountDisabled, backends.MailboxMoved: mailboxMoved, backends.Unsupported: mapiOff,
	backends.Poison: messageBroken, backends.NotFound: folderNotFound, backends.Permanent: mapiForbidden,
}

// ours are the causes that stand for those of any server.
var ours = map[probe.Cause]probe.Cause{
	probe.NameNotFound: nameNotFound, probe.PortClosed: portClosed, probe.NoConnection: noConnection, probe.NoAnswer: noConnection, probe.NoTLS: noTLS,
	probe.TLSTooOld: tlsTooOld, probe.CertificateExpired: certificateExpired, probe.CertificateExpires: certificateExpires, probe.CertificateName: certificateName,
	probe.CertificateNotTrusted: certificateNotTrusted, probe.ClientCertificate: certificateNotTrusted,
}

// our is the cause that stands for one of any server.
func our(cause probe.Cause) probe.Cause {
	if mine, is := ours[cause]; is {
		return mine
	}
	return cause
}

// errUnknownMailbox is that of an address that the address book does not have.
var errUnknownMailbox = errors.New("the address book has no such mailbox, or several")

// diagnose says what a failure is due to.
func diagnose(err error) probe.Cause {
	if cause, known := probe.Known(err); known {
		return our(cause)
	}
	if errors.Is(err, errService) {
		return servicePassword
	}
	if errors.Is(err, errUnknownMailbox) {
		return mailboxUnknown
	}
	for _, d := range loginDiagnoses {
		if errors.Is(err, d.err) {
			return d.is
		}
	}
	var kdc *kerberos.Error
	if errors.As(err, &kdc) && kdc.Verdict == kerberos.Revoked {
		return accountLocked
	}
	for _, d := range codeDiagnoses {
		if errors.Is(err, d.code) {
			return d.is
		}
	}
	f := backends.AsFailure(err)
	switch f.Code {
	case "5.7.4":
		return methodNotOffered
	case "5.7.1":
		return noPermission
	case "4.7.5":
		return certificateNotTrusted
	case "4.4.1":
		return noConnection
	}
	if d, ok := kindDiagnoses[f.Kind]; ok {
		return d
	}
	return unexpected
}
