package exchange

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// servicePath is where Exchange Web Services are.
const servicePath = "/EWS/Exchange.asmx"

// Twist is what a server does wrong, or what it refuses, with a request of EWS.
type Twist struct {
	// Undone has it not do what it is asked. Otherwise it does that, and what it says of it is wrong.
	Undone bool
	// Status is that of HTTP, with Body; 0: what the reply has.
	Status int
	Body   string
	// BackOff has it answer that it is busy, and for how long.
	BackOff time.Duration
	// Cut ends the connection behind so many octets of the reply; -1: before the first of them.
	Cut int
	// Edit makes another reply of the one that there would be.
	Edit func(reply string) string
}

// Twist has the next n requests of an operation of EWS go wrong; "" is any operation.
func (s *Server) Twist(operation string, n int, twist Twist) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.twists = append(s.twists, twisted{operation, twist})
	}
}

type twisted struct {
	operation string
	twist     Twist
}

// twist takes what is to go wrong with an operation.
func (s *Server) twist(operation string) *Twist {
	for i, t := range s.twists {
		if t.operation == "" || t.operation == operation {
			s.twists = slices.Delete(s.twists, i, i+1)
			return &t.twist
		}
	}
	return nil
}

// Operations returns the names of the operations of EWS that were asked for, in their order.
func (s *Server) Operations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.operations)
}

// schemas are the versions that a request may name, oldest first. MS-OXWSCDATA §2.2.5.26.
var schemas = []string{
	"Exchange2007", "Exchange2007_SP1", "Exchange2010", "Exchange2010_SP1", "Exchange2010_SP2", "Exchange2013", "Exchange2013_SP1", "Exchange2016",
}

// serverInfo are what a server says that it is, by the newest schema that it has.
var serverInfo = map[string][4]int{
	"Exchange2007_SP1": {8, 1, 240, 5}, "Exchange2010": {14, 0, 639, 20}, "Exchange2010_SP1": {14, 1, 218, 13}, "Exchange2010_SP2": {14, 3, 123, 3},
	"Exchange2013": {15, 0, 516, 29}, "Exchange2013_SP1": {15, 0, 847, 32}, "Exchange2016": {15, 1, 2507, 6},
}

// Schema has the server be one whose newest schema of EWS is this: Exchange2007_SP1, for one. It is Exchange2016 else.
func (s *Server) Schema(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schema = version
}

// WithoutEWS has the server not have EWS.
func (s *Server) WithoutEWS() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withoutEWS = true
}

// WithoutMAPI has the server not have MAPI over HTTP: its end points are not there.
func (s *Server) WithoutMAPI(without bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withoutMAPI = without
}

// Upload is how many octets a request of EWS may have.
func (s *Server) Upload(most int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upload = most
}

// FindLimit is how many entries a page has at the most (EWSFindCountLimit); it is 1000 else.
func (s *Server) FindLimit(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.findLimit = most
}

// DeliverMail puts mail into the Inbox, with the stream that it is over MAPI: nil, where that is not asked for. It returns
// the counter of its MID.
func (m *Mailbox) DeliverMail(received time.Time, octets, stream []byte) uint64 {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	one := m.put(inbox, received, octets)
	if stream != nil {
		one.Stream, one.item = stream, parse(stream)
	}
	return one.ID
}

// service is one request of EWS.
type service struct {
	s    *Server
	user *Mailbox // who asks, or on whose behalf
	// schema is how new the schema is that the request names.
	schema int
	fault  *soapFault
}

// soapFault is a refusal of a request as a whole.
type soapFault struct {
	code, text string
	backOff    time.Duration
}

// serveEWS answers a request of EWS.
func (s *Server) serveEWS(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, s.uploadMost()+1))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	user := s.login(w, r)
	switch {
	case s.withoutEWS:
		http.NotFound(w, r)
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case user == nil:
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method != http.MethodPost:
		s.wrong("use the method %s", r.Method)
		w.WriteHeader(http.StatusMethodNotAllowed)
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "text/xml"):
		s.wrong("send EWS as %q", r.Header.Get("Content-Type"))
		w.WriteHeader(http.StatusUnsupportedMediaType)
	case int64(len(body)) > s.uploadMostLocked():
		http.NotFound(w, r) // IIS: 404.13
	default:
		s.soap(w, user, body)
	}
}

func (s *Server) uploadMost() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uploadMostLocked()
}

func (s *Server) uploadMostLocked() int64 {
	if s.upload > 0 {
		return s.upload
	}
	return 256 << 20
}

// soap answers an envelope.
func (s *Server) soap(w http.ResponseWriter, user *Mailbox, body []byte) {
	x := &service{s: s, user: user}
	operation := x.read(body)
	name := ""
	if operation != nil {
		name = strings.TrimPrefix(operation.name, "m:")
	}
	s.operations = append(s.operations, name)
	twist := s.twist(name)
	if twist == nil {
		twist = &Twist{}
	}
	reply := ""
	switch {
	case twist.BackOff > 0:
		x.fault = &soapFault{code: "ErrorServerBusy", text: "The server cannot service this request right now. Try again later.", backOff: twist.BackOff}
	case x.fault == nil && !twist.Undone:
		reply = x.do(name, operation)
	}
	status := http.StatusOK
	if x.fault != nil {
		status, reply = http.StatusInternalServerError, x.fault.xml()
	}
	s.respond(w, twist, status, s.enveloped(reply))
}

// respond sends a reply, as wrong as it is to be.
func (s *Server) respond(w http.ResponseWriter, twist *Twist, status int, reply string) {
	if twist.Edit != nil {
		reply = twist.Edit(reply)
	}
	kind := "text/xml; charset=utf-8"
	if twist.Status != 0 {
		status, reply, kind = twist.Status, twist.Body, "text/html"
	}
	if twist.Cut < 0 {
		hangUp(w)
		return
	}
	w.Header().Set("Content-Type", kind)
	if twist.Cut > 0 {
		w.Header().Set("Content-Length", fmt.Sprint(len(reply)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, reply[:min(twist.Cut, len(reply))])
		w.(http.Flusher).Flush()
		hangUp(w)
		return
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, reply)
}

func hangUp(w http.ResponseWriter) {
	if connection, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = connection.Close()
	}
}

func (s *Server) enveloped(body string) string {
	v := serverInfo[s.schemaName()]
	return fmt.Sprintf(`<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="%s"><s:Header><h:ServerVersionInfo MajorVersion="%d" MinorVersion="%d" `+
		`MajorBuildNumber="%d" MinorBuildNumber="%d" xmlns:h="%s" xmlns="%s"/></s:Header><s:Body>%s</s:Body></s:Envelope>`,
		soapNS, v[0], v[1], v[2], v[3], typesNS, typesNS, body)
}

func (s *Server) schemaName() string {
	if s.schema == "" {
		return "Exchange2016"
	}
	return s.schema
}

// xml is a fault, MS-OXWSCDATA §2.2.3.
func (f *soapFault) xml() string {
	values := ""
	if f.backOff > 0 {
		values = fmt.Sprintf(`<t:MessageXml xmlns:t="%s"><t:Value Name="BackOffMilliseconds">%d</t:Value></t:MessageXml>`, typesNS, f.backOff.Milliseconds())
	}
	return fmt.Sprintf(`<s:Fault><faultcode xmlns:a="%s">a:%s</faultcode><faultstring xml:lang="en-US">%s</faultstring><detail>`+
		`<e:ResponseCode xmlns:e="%s">%s</e:ResponseCode><e:Message xmlns:e="%s">%s</e:Message>%s</detail></s:Fault>`,
		typesNS, f.code, esc(f.text), errorsNS, f.code, errorsNS, esc(f.text), values)
}

// invalid refuses a request that the schema does not allow, and fails the test.
func (x *service) invalid(format string, args ...any) {
	x.s.wrong(format, args...)
	x.fault = &soapFault{code: "ErrorSchemaValidation", text: "The request failed schema validation: " + fmt.Sprintf(format, args...)}
}

// read reads the envelope of a request, and returns its operation.
func (x *service) read(body []byte) *node {
	envelope, err := parseXML(body)
	if err != nil || envelope.name != "soap:Envelope" || !envelope.ordered("soap:Header", "soap:Body!") || len(envelope.child("soap:Body").children) != 1 {
		x.invalid("send what is no envelope (%v)", err)
		return nil
	}
	x.header(envelope.child("soap:Header"))
	return envelope.child("soap:Body").children[0]
}

// header reads which schema a request is of, and on whose behalf it is.
func (x *service) header(header *node) {
	version := header.child("t:RequestServerVersion")
	if version == nil {
		x.invalid("leave out RequestServerVersion")
		return
	}
	x.schema = slices.Index(schemas, version.attrs["Version"])
	if newest := slices.Index(schemas, x.s.schemaName()); x.schema < 0 || x.schema > newest {
		x.fault = &soapFault{code: "ErrorInvalidServerVersion", text: "The specified server version is invalid."}
		return
	}
	impersonation := header.child("t:ExchangeImpersonation")
	if impersonation == nil {
		return
	}
	address := impersonation.at("t:ConnectingSID", "t:PrimarySmtpAddress")
	switch {
	case address == nil:
		x.invalid("impersonate nobody")
	case !x.user.Impersonates:
		x.fault = &soapFault{code: "ErrorImpersonateUserDenied", text: "The account does not have permission to impersonate the requested user."}
	case x.s.byAddress(address.text) == nil:
		x.fault = &soapFault{code: "ErrorNonExistentMailbox", text: "The SMTP address has no mailbox associated with it."}
	default:
		x.user = x.s.byAddress(address.text)
	}
}

// has says whether a request is of a schema that is as new as this one.
func (x *service) has(schema string) bool { return x.schema >= slices.Index(schemas, schema) }

func (s *Server) byAddress(address string) *Mailbox {
	for _, m := range s.mailboxes {
		if strings.EqualFold(m.User, address) {
			return m
		}
	}
	return nil
}

// do does an operation, and returns its response.
func (x *service) do(name string, o *node) string {
	do := map[string]func(*node) string{
		"GetFolder": x.getFolder, "FindFolder": x.findFolder, "FindItem": x.findItem, "GetItem": x.getItem, "DeleteItem": x.deleteItem, "MoveItem": x.moveItem,
		"UpdateItem": x.updateItem, "CreateItem": x.createItem, "SendItem": x.sendItem, "ResolveNames": x.resolveNames, "SyncFolderItems": x.syncItems,
		"ExportItems": x.exportItems,
	}[name]
	if do == nil || o.name != "m:"+name {
		x.invalid("ask for %s", o.name)
		return ""
	}
	messages := do(o)
	return fmt.Sprintf(`<m:%sResponse xmlns:m="%s" xmlns:t="%s"><m:ResponseMessages>%s</m:ResponseMessages></m:%sResponse>`, name, messagesNS, typesNS, messages, name)
}

// succeeded is a response message of success.
func done(operation, brings string) string {
	return fmt.Sprintf(`<m:%sResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>%s</m:%sResponseMessage>`, operation, brings, operation)
}

// refusals are the texts of response codes, as far as they are used here.
var refusals = map[string]string{
	"ErrorItemNotFound": "The specified object was not found in the store.", "ErrorFolderNotFound": "The specified folder could not be found in the store.",
	"ErrorInvalidIdMalformed": "Id is malformed.", "ErrorAccessDenied": "Access is denied. Check credentials and try again.",
	"ErrorContentConversionFailed": "Content conversion failed.", "ErrorNameResolutionNoResults": "No results were found.",
	"ErrorQuotaExceeded": "The mailbox quota has been exceeded.", "ErrorSendAsDenied": "The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account.",
	"ErrorNonExistentMailbox": "The SMTP address has no mailbox associated with it.", "ErrorMimeContentInvalidBase64String": "The mime content is invalid.",
	"ErrorInvalidRecipients": "At least one recipient isn't valid.", "ErrorInvalidSyncStateData": "Synchronization state data is corrupt or otherwise invalid.",
}

// refused is a response message of failure.
func refused(operation, code, brings string) string {
	return fmt.Sprintf(`<m:%sResponseMessage ResponseClass="Error"><m:MessageText>%s</m:MessageText><m:ResponseCode>%s</m:ResponseCode>`+
		`<m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>%s</m:%sResponseMessage>`, operation, esc(refusals[code]), code, brings, operation)
}
