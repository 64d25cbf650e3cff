package smtp

import (
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// received is the trace line of this hop (RFC 5321 §4.4). Who else got the message is not
// told: a recipient stands in it only when it is the only one.
func (s *session) received(now time.Time) string {
	f := folder{}
	f.add("Received:")
	if !s.server.HideClient {
		f.add("from", traceName(s.helo), "("+literal(s.raw.RemoteAddr())+")")
		f.fold()
	}
	f.add("by", traceName(s.server.Hostname), "with", s.protocol())
	if state := s.tlsState.Load(); state != nil {
		f.add("("+strings.ReplaceAll(tls.VersionName(state.Version), " ", ""), tls.CipherSuiteName(state.CipherSuite)+")")
	}
	f.fold()
	f.add("id", s.tx.id)
	if s.tx.recipients == 1 {
		f.add("for", "<"+s.tx.recipient.String()+">")
	}
	if p := s.tx.options.Priority; p != 0 {
		f.add("PRIORITY", strconv.Itoa(p)) // RFC 6710 §4.1
	}
	f.end(";")
	f.fold()
	f.add(strings.Fields(now.Format("Mon, 2 Jan 2006 15:04:05 -0700"))...)
	f.end("\r\n")
	return f.b.String()
}

// protocol is the name of the "with" clause: RFC 3848, RFC 6531 §4.3.
func (s *session) protocol() string {
	if !s.esmtp {
		return "SMTP"
	}
	p := "ESMTP"
	if s.tx.options.UTF8 {
		p = "UTF8SMTP"
	}
	if s.secure() {
		p += "S"
	}
	if s.authed {
		p += "A"
	}
	return p
}

// literal is an address in RFC 5321 §4.1.3's form.
func literal(a net.Addr) string {
	tcp, is := a.(*net.TCPAddr)
	if !is {
		return "[unknown]"
	}
	ip := tcp.AddrPort().Addr()
	if !ip.IsValid() {
		return "[unknown]"
	}
	return address.Literal(ip)
}

// traceName makes a name safe to stand in a header field, whatever a client calls itself.
func traceName(s string) string {
	return strings.Map(func(r rune) rune {
		if letDigHyp(r) || strings.ContainsRune(".:[]", r) {
			return r
		}
		return '?'
	}, s)
}

// letDigHyp is RFC 5321 §4.1.2's Let-dig, with the hyphen, and the underscore that is in use.
func letDigHyp(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// folder writes a header field in lines of at most 78 characters where its words allow
// (RFC 5322 §2.1.1).
type folder struct {
	b    strings.Builder
	line int
}

const foldAt = 78

func (f *folder) add(words ...string) {
	for _, w := range words {
		if f.line > 0 && f.line+1+len(w) >= foldAt {
			f.fold()
		}
		if f.line > 1 {
			f.b.WriteByte(' ')
			f.line++
		}
		f.b.WriteString(w)
		f.line += len(w)
	}
}

// fold goes on in the next line, whose tab counts for one.
func (f *folder) fold() {
	f.b.WriteString("\r\n\t")
	f.line = 1
}

func (f *folder) end(s string) { f.b.WriteString(s) }
