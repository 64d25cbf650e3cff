package exchange

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// discoverPath is where Autodiscover is, MS-OXDSCLI §2.1.
const discoverPath = "/autodiscover/autodiscover.xml"

// Discovery has the server answer Autodiscover with this status; 0: as it should.
func (s *Server) Discovery(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discovery = status
}

// serveDiscovery tells who somebody is, MS-OXDSCLI §3.2.5. It tells no settings.
func (s *Server) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyMost))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	switch {
	case s.discovery != 0:
		w.WriteHeader(s.discovery)
		return
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	case s.login(w, r) == nil:
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	asked, err := parseXML(body)
	address := asked.at("Request", "EMailAddress")
	if err != nil || address == nil || asked.at("Request", "AcceptableResponseSchema") == nil {
		s.wrong("ask Autodiscover with %q", body)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	const space = "http://schemas.microsoft.com/exchange/autodiscover/"
	said := `<Error Time="22:19:51.2" Id="1"><ErrorCode>500</ErrorCode><Message>The email address can't be found.</Message><DebugData/></Error>`
	if m := s.byAddress(strings.TrimSpace(address.text)); m != nil {
		said = fmt.Sprintf("<User><DisplayName>%s</DisplayName><LegacyDN>%s</LegacyDN><AutoDiscoverSMTPAddress>%s</AutoDiscoverSMTPAddress></User>"+
			"<Account><AccountType>email</AccountType><Action>settings</Action></Account>", esc(m.User), esc(m.DN), esc(m.User))
	}
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="%sresponseschema/2006"><Response xmlns="%soutlook/responseschema/2006a">%s</Response></Autodiscover>`,
		space, space, said)
}
