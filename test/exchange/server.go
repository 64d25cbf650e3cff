package exchange

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// Server is a double.
type Server struct {
	// URL is that of the end point for mailboxes, and Root that of the server.
	URL, Root string
	// TLS trusts the certificate, which Certificate has as PEM.
	TLS         *tls.Config
	Certificate []byte

	t           testing.TB
	mu          sync.Mutex
	mailboxes   []*Mailbox
	contexts    map[string]*context
	given       int // session contexts so far
	busy        int
	room        int
	tolerant    bool
	requests    int
	connections int
	refusals    map[string]int // by the name that logged in with a wrong password
	connects    int            // session contexts for mailboxes so far
	calls       []string
	executed    []byte // operations of the request that is answered

	web         *httptest.Server
	certificate tls.Certificate
	binding     []byte // that logins must have
	signIn      SignIn
	callers     map[string]*caller // by the client's address
	hangUps     int
	judged      int

	faults      map[uint8]fault
	cut         bool // the connection, in the place of a reply
	stall       bool // before that
	single      bool // payloads
	noTransport bool
	deaf        bool // it knows no NotificationWait
	waits       int
	refused     []string
	sent        []Sent

	// Of Exchange Web Services.
	schema                  string
	upload                  int64 // octets of a request, at the most
	withoutEWS, withoutMAPI bool
	discovery, findLimit    int
	twists                  []twisted
	operations              []string
}

// Mailbox is somebody's.
type Mailbox struct {
	User, Password, DN string
	// Token signs in as the user, under Bearer; empty: none does.
	Token string
	// OtherReplica has a RopLogon tell of a replica that is not that of the mailbox's ids, as some servers do.
	OtherReplica bool
	// Quota is how many octets the messages may have; 0: any number.
	Quota int64
	// SendAs are addresses of others that the owner may send as, in small letters.
	SendAs []string
	// OldDNs are distinguished names that the owner had before: X500 addresses.
	OldDNs []string
	// Delegates are the distinguished names of those who may send on behalf of the owner.
	Delegates []string
	// Impersonates has the user act for anybody by EWS.
	Impersonates bool

	rights   map[string]Rights // by the distinguished name of who may open it
	refuses  uint32            // logons, with this ReturnValue; 0: none
	server   *Server
	replica  [16]byte // the GUID of all its ids
	folders  []*Folder
	messages []*Message
	counter  uint64
	names    []name // of named properties, by their ids
}

// Folder is a folder of a mailbox.
type Folder struct {
	Name string

	id, parent uint64 // the counters of the FIDs
}

// Message is a message.
type Message struct {
	ID       uint64 // the counter of its MID
	Subject  string
	Received time.Time
	Read     bool
	// Receipt says that a read receipt was sent, or one of deletion unread.
	Receipt bool
	// Deleted says that the message was deleted so that it may be recovered. One that was deleted for good is not there.
	Deleted bool
	Stream  []byte
	// Mail is the message as EWS gives it; nil: it cannot be made mail of.
	Mail []byte
	// Wanted says that somebody wants a receipt of it.
	Wanted bool
	// Folder is the name of the folder.
	Folder string
	// Flags are PidTagMessageFlags, but for mfRead.
	Flags uint32

	mailbox *Mailbox
	folder  uint64
	item    *item // of the stream; nil: it cannot be read
	locked  bool  // by a spooler
	version int   // of what was saved
	changes int
	named   map[string]string // properties that EWS has set, in base64
}

// roomMost is the largest payload, MS-OXCRPC §3.1.4.2.1.
const roomMost = 32 << 10

// Start starts a server, which ends with the test.
func Start(t testing.TB) *Server {
	s := &Server{t: t, contexts: map[string]*context{}, refusals: map[string]int{}, room: roomMost, faults: map[uint8]fault{}}
	s.callers = map[string]*caller{}
	web := httptest.NewUnstartedServer(s.handler())
	web.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mu.Lock()
			s.connections++
			s.mu.Unlock()
		}
		if state == http.StateClosed { // its address may be another's next
			s.mu.Lock()
			delete(s.callers, conn.RemoteAddr().String())
			s.mu.Unlock()
		}
	}
	web.TLS = &tls.Config{Certificates: []tls.Certificate{newCertificate(t, "a server")}}
	web.StartTLS()
	t.Cleanup(web.Close)
	s.web, s.certificate, s.binding = web, web.TLS.Certificates[0], bindingOf(web.Certificate().Raw)
	s.Root = web.URL
	s.URL = web.URL + "/mapi/emsmdb/?MailboxId=mailbox@sakes.example"
	s.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	s.TLS = web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	return s
}

// AddMailbox adds a mailbox of a user who logs in with a password.
func (s *Server) AddMailbox(user, password, dn string) *Mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &Mailbox{User: user, Password: password, DN: dn, server: s, counter: 0x30000}
	s.mailboxes = append(s.mailboxes, m)
	m.replica = [16]byte{byte(len(s.mailboxes)), 'r', 'e', 'p', 'l', 'i', 'c', 'a'}
	m.folders = []*Folder{
		{"Top of Information Store", subtree, 1},
		{"Inbox", inbox, subtree},
		{"Deleted Items", deletedItems, subtree},
		{"Outbox", outbox, subtree},
		{"Sent Items", sentItems, subtree},
		{"Drafts", drafts, subtree},
	}
	return m
}

// handler answers at all end points.
func (s *Server) handler() http.Handler {
	all := http.NewServeMux()
	all.HandleFunc("/", s.serve)
	all.HandleFunc(servicePath, s.serveEWS)
	all.HandleFunc(discoverPath, s.serveDiscovery)
	all.HandleFunc("/Autodiscover/Autodiscover.xml", s.serveDiscovery) // IIS does not tell small letters from capitals
	return all
}

// SetPassword has the user log in with another password from now on.
func (m *Mailbox) SetPassword(password string) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	m.Password = password
}

// AddFolder adds a folder below that of a name, which is "" for the top.
func (m *Mailbox) AddFolder(below, name string) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	parent := uint64(subtree)
	for _, f := range m.folders {
		if f.Name == below {
			parent = f.id
		}
	}
	m.counter++
	m.folders = append(m.folders, &Folder{name, m.counter, parent})
}

// Deliver puts a message into the Inbox, and returns the counter of its MID.
func (m *Mailbox) Deliver(subject string, stream []byte) uint64 {
	return m.DeliverAt(time.Date(2026, 11, 22, 21, 53, 0, 0, time.UTC), subject, stream)
}

// DeliverAt is Deliver at another time, which must not be before that of the message before.
func (m *Mailbox) DeliverAt(received time.Time, subject string, stream []byte) uint64 {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	one := m.add(inbox)
	one.Subject, one.Received, one.Stream, one.item = subject, received, stream, parse(stream)
	return one.ID
}

// Messages returns copies of the messages, those that may be recovered among them.
func (m *Mailbox) Messages() []Message {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	var all []Message
	for _, one := range m.messages {
		all = append(all, *one)
	}
	return all
}

// Forget loses all session contexts.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.contexts)
}

// Busy answers the next n requests with too much to do, MS-OXCROPS §3.2.4.2.
func (s *Server) Busy(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = n
}

// Room makes the payload of replies no larger than n octets.
func (s *Server) Room(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = n
}

// Tolerate lets clients do what they must not: they are refused, and the test goes on.
func (s *Server) Tolerate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tolerant = true
}

// Requests returns how many requests there were.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Calls returns the requests of MAPI over HTTP, in their order: the type of each (a Bind, a Connect, an Execute), behind an Execute the operations that
// were executed, each as two hexadecimal digits (MS-OXCROPS §2.2.2), and 401 for one that was refused.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Refusals returns how often somebody was refused a password.
func (s *Server) Refusals(user string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusals[user]
}

// Connects returns how many session contexts for mailboxes there were.
func (s *Server) Connects() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connects
}

// Connections returns how many connections there were.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// Left returns how many session contexts there are, and how many objects are open in them.
func (s *Server) Left() (contexts, objects int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.contexts {
		objects += len(c.objects)
	}
	return len(s.contexts), objects
}

// wrong notes that a client did what it must not.
func (s *Server) wrong(format string, args ...any) {
	if !s.tolerant {
		s.t.Errorf("the client must not: %s", fmt.Sprintf(format, args...))
	}
}
