package relay

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/relay/mx"
)

// verdict is what became of one recipient in one attempt.
type verdict struct {
	// action is what was done (RFC 3464 §2.3.3); ActionDelayed: it is tried again.
	action backends.Action
	// uncertain says, of what is tried again, that it may have been delivered.
	uncertain bool
	// passedOn says that the next server tells the sender what becomes of it (RFC 3461 §5.2.2).
	passedOn bool
	// dropped says, of what is finished, that nobody gets it, as the route has it. Nobody is told.
	dropped bool
	code    string // enhanced status code (RFC 3463)
	reply   int    // the server's, 0: there was none
	server  string
	// folder and stored are where a store has put its copy, and what it calls it, as far as it says so.
	folder, stored string
	// diagnostic is what the server has answered (RFC 3464 §2.3.6).
	diagnostic string
	wait       time.Duration // it is not tried again before
	unreached  bool          // no server could be reached, which says nothing of recipients and contents
	overDay    bool          // nothing was tried: the destination has had its recipients of the day
	stops      bool          // the server wants to be left alone, or lets nobody in: what else waits for it is not tried
	// whole says that it is what the destination has in common with others that has failed ([Route.Common]); until, that
	// nothing was tried, as all of them wait until then.
	whole bool
	until time.Time
	cause error // for the log
}

func failed(code string, cause error) verdict {
	return verdict{action: backends.ActionFailed, code: code, cause: cause}
}

func dropped(what content.Automatic) verdict {
	v := verdict{action: backends.ActionDelivered, passedOn: true, dropped: true, code: "2.0.0", diagnostic: "the route drops automatic replies"}
	switch {
	case what&content.Forward != 0:
		v.diagnostic = "the route drops automatic forwards"
	case what&content.OutOfOffice != 0:
		v.diagnostic = "the route drops out-of-office replies"
	}
	return v
}

func delayed(code string, cause error) verdict {
	return verdict{action: backends.ActionDelayed, code: code, cause: cause}
}

// pushesBack says whether a server has shown that it gets too much.
func (v verdict) pushesBack() bool { return v.reply == 421 || v.reply == 450 || v.reply == 451 }

// forNow makes a refusal for good one that may pass, by its class (RFC 3463 §2).
func (v verdict) forNow() verdict {
	v.action, v.code = backends.ActionDelayed, "4"+v.code[1:]
	return v
}

// allOf is the same verdict for each recipient.
func allOf(v verdict, c Claimed) []verdict {
	all := make([]verdict, len(c.Recipients))
	for i := range all {
		all[i] = v
	}
	return all
}

// ofOutcome is what the outcome of an SMTP or LMTP transaction is.
func ofOutcome(o smtpclient.Outcome, kind Kind, server string, dsn bool) verdict {
	var (
		uncertain *smtpclient.UncertainError
		unsent    *smtpclient.UnsentError
		address   *smtpclient.AddressError
		refused   *smtpclient.ReplyError
	)
	v := verdict{}
	switch {
	case o.Err == nil:
		v = verdict{action: backends.ActionRelayed, passedOn: dsn, reply: o.Reply.Code, code: codeOf(o.Reply), server: server, diagnostic: o.Reply.Diagnostic()}
		if kind == LMTP && !dsn {
			v.action = backends.ActionDelivered // RFC 2033 §1: it is in the mailbox
		}
	case errors.As(o.Err, &uncertain):
		v = delayed("4.4.2", o.Err)
		v.uncertain, v.server = true, server
	case errors.As(o.Err, &unsent): // a connection was refused behind one that has carried the message
		v = ofConnection(o.Err, kind, server).forNow()
	case errors.As(o.Err, &address):
		v = failed(address.Status, o.Err)
		if address.ReversePath && !address.NeedsUTF8() {
			v.code = "5.1.7" // RFC 3463 §3.2
		}
	case errors.As(o.Err, &refused):
		v = ofReply(refused, server)
	default: // nothing was sent to this one
		v = delayed("4.4.2", o.Err)
		v.server = server
	}
	return v
}

// ofReply is what a refusal is. The reply's own code decides whether it is for good, whatever the enhanced one says.
func ofReply(e *smtpclient.ReplyError, server string) verdict {
	v := failed(codeOf(e.Reply), e)
	v.reply, v.server, v.diagnostic, v.stops = e.Code, server, e.Diagnostic(), e.Throttles()
	_, text := e.Enhanced()
	tooMany := e.Code == 552 && smtpclient.ForNumber(v.code, strings.ToLower(text)) // RFC 5321 §4.5.3.1.10: it means 452
	switch {
	case tooMany:
		v.action, v.code = backends.ActionDelayed, "4.5.3"
	case e.Code/100 != 5:
		v.action = backends.ActionDelayed
	case e.Code == 552 && v.code == "5.0.0" && e.Command != smtpclient.AtRcpt:
		v.code = "5.3.4" // RFC 1870 §6.1
	}
	return v
}

// codeOf is a reply's enhanced status code, of the reply's own class.
func codeOf(r smtpclient.Reply) string {
	class := byte('0' + r.Code/100)
	if code, _ := r.Enhanced(); code != "" && code[0] == class {
		return code
	}
	if class != '2' && class != '5' {
		class = '4'
	}
	return string(class) + ".0.0"
}

// ofStore is what a store's outcome is.
func ofStore(o receivers.Outcome) verdict {
	v := verdict{
		action: o.Verdict.Outcome(), code: "2.0.0", cause: o.Err, server: strings.TrimPrefix(o.Verdict.Destination, "dns; "),
		diagnostic: o.Verdict.RemoteDiagnostic, stored: o.Verdict.StoredAsText(),
	}
	if v.server == o.Verdict.Destination {
		v.server, v.folder = "", backends.SafeText(v.server)
	}
	if o.Err == nil {
		if v.action == backends.ActionDelayed {
			v.action = backends.ActionRelayed // the store goes on trying by itself
		}
		return v
	}
	reply := o.Reply()
	v.reply, v.code, v.action = reply.Code, reply.Enhanced, backends.ActionFailed
	if v.diagnostic == "" {
		v.diagnostic = fmt.Sprintf("smtp; %d %s %s", reply.Code, reply.Enhanced, reply.Text)
	}
	if o.Temporary() {
		f := backends.AsFailure(o.Err)
		v.action, v.uncertain, v.wait, v.whole = backends.ActionDelayed, o.Unknown, f.RetryAfter, f.Whole
		v.stops = f.Kind == backends.Throttled || v.code == codeLogin
	}
	return v
}

// codeLogin is said where the gateway's own login is refused (RFC 5248: X.7.8).
const codeLogin = "4.7.8"

// ofConnection is what it means for mail that no connection to a host has come about. Only a host that DNS names can say
// for good that it takes none (RFC 5321 §3.1): of a server that the administrator names it will not stay so.
func ofConnection(err error, kind Kind, server string) verdict {
	var (
		loop    *smtpclient.LoopError
		secure  *smtpclient.TLSError
		refused *smtpclient.ReplyError
	)
	v := delayed("4.4.1", err)
	switch {
	case errors.As(err, &loop):
		v = failed("5.4.6", err)
	case errors.As(err, &secure):
		v = delayed("4.7.10", err)
	case errors.As(err, &refused):
		v = ofReply(refused, server)
		if refused.Command == "AUTH" {
			v.code = codeLogin // it is the gateway's own login that is to be put right
		}
		if kind != MX {
			v = v.forNow()
		}
	}
	v.server = server
	return v
}

// ofAll says whether a server is away for whoever logs in: a reply may be for the one who has, and so may be a token that is
// refused to one mailbox.
func ofAll(err error) bool {
	if _, said := errors.AsType[*smtpclient.ReplyError](err); said {
		return false
	}
	token, is := errors.AsType[*oauth.Error](err)
	return !is || !token.OfMailbox()
}

// ofDNS is what it means for mail that a domain has no hosts, or that nobody knows.
func ofDNS(err error) verdict {
	why, known := errors.AsType[*mx.Error](err)
	switch {
	case !known:
		return delayed("4.4.3", err)
	case why.Temporary():
		return delayed(why.Code(), err)
	}
	return failed(why.Code(), err)
}
