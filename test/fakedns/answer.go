package fakedns

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// ServeDNS implements [dns.Handler].
func (s *Server) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	question, network := query.Question[0], w.LocalAddr().Network()
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	switch s.asked(question, network) {
	case Silent:
		return
	case Garbage:
		_, _ = w.Write([]byte("this is no DNS message"))
		return
	case ServFail:
		reply.Rcode = dns.RcodeServerFailure
	case Refused:
		reply.Rcode, reply.RecursionAvailable = dns.RcodeRefused, false
	case Lame:
		reply.RecursionAvailable = false
		reply.Ns = []dns.RR{&dns.NS{Hdr: header(".", dns.TypeNS), Ns: "a.root-servers.net."}}
	case Truncated:
		if reply.Truncated = network == "udp"; !reply.Truncated {
			s.answer(reply, question)
		}
	case Forged:
		s.answer(reply, question)
		reply.Id++
	default:
		s.answer(reply, question)
	}
	s.send(w, query, reply)
}

// send sends a reply, cut to what the client takes (RFC 6891 §6.2.3). What the client has gone
// without is nothing to tell.
func (s *Server) send(w dns.ResponseWriter, query, reply *dns.Msg) {
	size, validates := dns.MinMsgSize, query.AuthenticatedData
	if opt := query.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		validates = validates || opt.Do()
		reply.SetEdns0(1232, opt.Do())
	}
	reply.AuthenticatedData = reply.Rcode != dns.RcodeServerFailure && validates && s.secure(reply)
	if w.LocalAddr().Network() == "udp" {
		reply.Truncate(size)
	}
	_ = w.WriteMsg(reply)
}

// secure says whether all that a reply tells has been validated: of the name that was asked for, and of
// those that it is an alias of (RFC 4035 §3.2.3).
func (s *Server) secure(reply *dns.Msg) bool {
	names := []string{reply.Question[0].Name}
	for _, rr := range reply.Answer {
		if alias, ok := rr.(*dns.CNAME); ok {
			names = append(names, alias.Target)
		}
	}
	return !slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(s.Secure, func(zone string) bool { return dns.IsSubDomain(zone, name) })
	})
}

// chainMost is more aliases than a resolver follows.
const chainMost = 8

// answer looks a name up, and what it is an alias of (RFC 1034 §4.3.2). Where there is nothing,
// an SOA record says so (RFC 2308 §2).
func (s *Server) answer(reply *dns.Msg, q dns.Question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := dns.CanonicalName(q.Name)
	for range chainMost {
		found := ofType(s.records[name], q.Qtype)
		reply.Answer = append(reply.Answer, found...)
		if len(found) > 0 {
			return
		}
		alias := ofType(s.records[name], dns.TypeCNAME)
		if len(alias) == 0 {
			if !s.exists(name) {
				reply.Rcode = dns.RcodeNameError
			}
			reply.Ns = []dns.RR{&dns.SOA{Hdr: header(".", dns.TypeSOA), Ns: "ns.", Mbox: "postmaster.", Serial: 1, Refresh: 60, Retry: 60, Expire: 60, Minttl: 60}}
			return
		}
		reply.Answer = append(reply.Answer, alias[0])
		name = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
	}
	reply.Rcode, reply.Answer = dns.RcodeServerFailure, nil // the aliases go round
}

func ofType(records []dns.RR, kind uint16) (found []dns.RR) {
	for _, rr := range records {
		if rr.Header().Rrtype == kind {
			found = append(found, rr)
		}
	}
	return found
}

// exists says whether a name has records, or one below it has (RFC 8020).
func (s *Server) exists(name string) bool {
	for known := range s.records {
		if known == name || strings.HasSuffix(known, "."+name) {
			return true
		}
	}
	return false
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: 60}
}
