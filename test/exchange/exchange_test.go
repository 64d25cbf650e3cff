package exchange

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
)

const (
	georgesName = "/o=Sakes/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=george"
	chrisName   = "/o=Sakes/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=chris"
)

// stream is a message as a server has recorded it.
func stream(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../backends/mapi/fasttransfer/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Stream string `json:"stream_hex"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	octets, err := hex.DecodeString(r.Stream)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

func start(t *testing.T) (*Server, *Mailbox) {
	t.Helper()
	s := Start(t)
	m := s.AddMailbox("george@sakes.example", "george-pw-1", georgesName)
	m.Deliver("Alternative: text and HTML", stream(t, "fx-copyto-05.json"))
	m.Deliver("Nested", stream(t, "fx-copyto-08.json"))
	m.Deliver("Alternative, without its body", stream(t, "fx-copyto-05-excluded.json"))
	return s, m
}

func config(s *Server, password string) mapihttp.Config {
	signIn, err := signin.New(signin.Config{URL: s.Root, TLS: s.TLS, Method: signin.Basic})
	if err != nil {
		s.t.Fatal(err)
	}
	return mapihttp.Config{URL: s.URL, Transport: signIn.Login(signin.Credential{User: "george@sakes.example", Password: password})}
}

// reader is a client that is logged on.
type reader struct {
	*rop.Session
	t     *testing.T
	http  *mapihttp.Session
	logon *rop.Object
	inbox mapi.ObjectID
}

func connect(t *testing.T, s *Server) *reader {
	t.Helper()
	h, err := mapihttp.Connect(t.Context(), config(s, "george-pw-1"), georgesName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	r := &reader{Session: &rop.Session{Transport: h}, t: t, http: h}
	r.enter()
	return r
}

func (r *reader) enter() {
	r.t.Helper()
	var b rop.Batch
	logon, reply := rop.Enter(&b, 0, &rop.Logon{LogonFlags: rop.LogonPrivate, Essdn: georgesName})
	r.must(&b)
	r.logon, r.inbox = logon, reply.FolderIDs[rop.FolderInbox]
}

// must does what is in a batch: all of it succeeds.
func (r *reader) must(b *rop.Batch) {
	r.t.Helper()
	if err := errors.Join(r.Do(r.t.Context(), b), b.Err()); err != nil {
		r.t.Fatal(err)
	}
}

// list returns the rows of the Inbox.
func (r *reader) list(flags uint8, columns ...mapi.Tag) [][]mapi.Value {
	r.t.Helper()
	var b rop.Batch
	folder, _ := rop.Open(&b, r.logon, &rop.OpenFolder{FolderID: r.inbox})
	table, _ := rop.Open(&b, folder, &rop.GetContentsTable{TableFlags: flags})
	rop.On(&b, table, &rop.SetColumns{PropertyTags: columns})
	var rows [][]mapi.Value
	for page := rop.On(&b, table, &rop.QueryRows{ForwardRead: true, RowCount: 2, Columns: columns}); ; {
		r.must(&b)
		rows = append(rows, page.Rows...)
		if page.Origin == rop.OriginEnd {
			break
		}
		b = rop.Batch{}
		page = rop.On(&b, table, &rop.QueryRows{ForwardRead: true, RowCount: 2, Columns: columns})
	}
	b = rop.Batch{}
	rop.Release(&b, table)
	rop.Release(&b, folder)
	r.must(&b)
	return rows
}

func (r *reader) ids() []mapi.ObjectID {
	r.t.Helper()
	var all []mapi.ObjectID
	for _, row := range r.list(0, mapi.PidTagMid) {
		all = append(all, row[0].(mapi.Integer64).ObjectID())
	}
	return all
}

// TestList reads the rows of the Inbox page by page, with a column that there is not.
func TestList(t *testing.T) {
	s, _ := start(t)
	rows := connect(t, s).list(0, mapi.PidTagSubject, mapi.PidTagMessageFlags, mapi.PidTagNativeBody)
	if len(rows) != 3 || rows[1][0] != mapi.String("Nested") || rows[1][1] != mapi.Integer32(0) || rows[1][2] != mapi.ErrorCode(rop.NotFound) {
		t.Error(rows)
	}
}

// TestFetch reads messages by FastTransfer, one and many, with room for all and with little.
func TestFetch(t *testing.T) {
	for _, room := range []int{roomMost, 2500} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			s, _ := start(t)
			s.Room(room)
			r := connect(t, s)
			ids := r.ids()
			var b rop.Batch
			message, opened := rop.Open(&b, r.logon, &rop.OpenMessage{CodePageID: rop.CodePageOfLogon, FolderID: r.inbox, MessageID: ids[1]})
			one, _ := rop.Open(&b, message, &rop.FastTransferSourceCopyTo{SendOptions: rop.SendUnicode})
			properties := rop.On(&b, message, &rop.GetPropertiesSpecific{WantUnicode: true, PropertyTags: []mapi.Tag{mapi.PidTagSubject}})
			folder, _ := rop.Open(&b, r.logon, &rop.OpenFolder{FolderID: r.inbox})
			many, _ := rop.Open(&b, folder, &rop.FastTransferSourceCopyMessages{MessageIDs: ids, SendOptions: rop.SendUnicode})
			r.must(&b)
			if opened.NormalizedSubject != "Nested" || properties.Value(mapi.PidTagSubject) != mapi.String("Nested") {
				t.Error(opened, properties)
			}
			got, err := io.ReadAll(r.Download(t.Context(), one))
			if err != nil || !bytes.Equal(got, stream(t, "fx-copyto-08.json")) {
				t.Errorf("%d octets, %v", len(got), err)
			}
			messages := fasttransfer.NewReader(r.Download(t.Context(), many), fasttransfer.Options{Keep: mapi.KeepInMemory})
			for i, attachments := range []int{0, 1, 0} {
				m, err := messages.Message()
				if err != nil || len(m.Attachments) != attachments {
					t.Fatal(i, m, err)
				}
			}
			if m, err := messages.Message(); err != io.EOF {
				t.Error(m, err)
			}
		})
	}
}

// TestRoom sends again what there was no room to answer.
func TestRoom(t *testing.T) {
	s, _ := start(t)
	s.Room(1000)
	r := connect(t, s)
	ids := r.ids()
	before := s.Requests()
	var b rop.Batch
	message, _ := rop.Open(&b, r.logon, &rop.OpenMessage{FolderID: r.inbox, MessageID: ids[0]})
	var all []*rop.RowReply
	for range 30 {
		all = append(all, rop.On(&b, message, &rop.GetPropertiesSpecific{PropertyTags: []mapi.Tag{mapi.PidTagSubject}}))
	}
	r.must(&b)
	for _, one := range all {
		if one.Value(mapi.PidTagSubject) != mapi.String("Alternative: text and HTML") {
			t.Error(one.Values)
		}
	}
	if n := s.Requests() - before; n < 2 {
		t.Errorf("%d requests", n)
	}
}

// TestMarkAndDelete marks messages as read without a receipt, and deletes them in both ways.
func TestMarkAndDelete(t *testing.T) {
	s, m := start(t)
	r := connect(t, s)
	ids := r.ids()
	var b rop.Batch
	folder, _ := rop.Open(&b, r.logon, &rop.OpenFolder{FolderID: r.inbox})
	rop.On(&b, folder, &rop.SetReadFlags{ReadFlags: rop.ReadSuppressReceipt, MessageIDs: ids[:1]})
	rop.On(&b, folder, &rop.SetReadFlags{ReadFlags: rop.ReadDefault, MessageIDs: ids[2:]})
	soft := rop.On(&b, folder, &rop.DeleteMessages{MessageIDs: ids[:1]})
	hard := rop.On(&b, folder, &rop.HardDeleteMessages{DeleteMessages: rop.DeleteMessages{MessageIDs: ids[1:2]}})
	again := rop.On(&b, folder, &rop.HardDeleteMessages{DeleteMessages: rop.DeleteMessages{MessageIDs: ids[1:2]}})
	r.must(&b)
	if soft.PartialCompletion || hard.PartialCompletion || !again.PartialCompletion {
		t.Error(soft, hard, again)
	}
	left := m.Messages()
	if len(left) != 2 || !left[0].Deleted || !left[0].Read || left[0].Receipt || left[1].Deleted || !left[1].Receipt {
		t.Errorf("%+v", left)
	}
	if rows := r.list(0, mapi.PidTagSubject); len(rows) != 1 || rows[0][0] != mapi.String("Alternative, without its body") {
		t.Error(rows)
	}
	if rows := r.list(rop.TableSoftDeletes, mapi.PidTagSubject); len(rows) != 1 || rows[0][0] != mapi.String("Alternative: text and HTML") {
		t.Error(rows)
	}
	b = rop.Batch{}
	_, opened := rop.Open(&b, r.logon, &rop.OpenMessage{FolderID: r.inbox, MessageID: ids[0]})
	if err := r.Do(t.Context(), &b); err != nil || !errors.Is(opened.Err(), rop.NotFound) {
		t.Error(err, opened.Err())
	}
}

// TestFolders finds a folder by its name, moves a message there, and tells ids from those of other mailboxes.
func TestFolders(t *testing.T) {
	s, m := start(t)
	m.AddFolder("", "Archive")
	r := connect(t, s)
	ids := r.ids()
	columns := []mapi.Tag{mapi.PidTagFolderId, mapi.PidTagDisplayName}
	var b rop.Batch
	top, _ := rop.Open(&b, r.logon, &rop.OpenFolder{FolderID: mapi.ObjectID{Replica: 1, Counter: mapi.Counter{5: subtree}}})
	table, _ := rop.Open(&b, top, &rop.GetHierarchyTable{})
	rop.On(&b, table, &rop.SetColumns{PropertyTags: columns})
	rows := rop.On(&b, table, &rop.QueryRows{ForwardRead: true, RowCount: 10, Columns: columns})
	r.must(&b)
	if len(rows.Rows) != 6 || rows.Rows[5][1] != mapi.String("Archive") {
		t.Fatal(rows.Rows)
	}
	b = rop.Batch{}
	inbox, _ := rop.Open(&b, r.logon, &rop.OpenFolder{FolderID: r.inbox})
	archive, _ := rop.Open(&b, r.logon, &rop.OpenFolder{FolderID: rows.Rows[5][0].(mapi.Integer64).ObjectID()})
	moved := rop.Move(&b, inbox, archive, &rop.MoveCopyMessages{MessageIDs: ids[:1]})
	again := rop.Move(&b, inbox, archive, &rop.MoveCopyMessages{MessageIDs: ids[:1]})
	lasting := rop.On(&b, r.logon, &rop.LongTermIDFromID{ObjectID: ids[1]})
	r.must(&b)
	if moved.PartialCompletion || !again.PartialCompletion || len(r.ids()) != 2 || m.Messages()[0].Folder != "Archive" {
		t.Error(moved, again, m.Messages())
	}
	other := lasting.LongTermID
	other.Database[0]++
	b = rop.Batch{}
	current := rop.On(&b, r.logon, &rop.IDFromLongTermID{LongTermID: lasting.LongTermID})
	unknown := rop.On(&b, r.logon, &rop.IDFromLongTermID{LongTermID: other})
	if err := r.Do(t.Context(), &b); err != nil || current.ObjectID != ids[1] || !errors.Is(unknown.Err(), rop.NotFound) {
		t.Error(err, current, unknown)
	}
}

// TestAddressBook finds the name of a mailbox by its address.
func TestAddressBook(t *testing.T) {
	s, _ := start(t)
	c := config(s, "george-pw-1")
	c.URL = strings.Replace(c.URL, "emsmdb", "nspi", 1)
	book, err := mapihttp.Bind(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(book.Close)
	columns := []mapi.Tag{mapi.PidTagEmailAddress, mapi.PidTagTitle, mapi.PidTagAddressBookProxyAddresses}
	found, err := book.Resolve(t.Context(), []string{"=SMTP:nobody@sakes.example", "=SMTP:george@sakes.example"}, columns)
	if err != nil || found[0].Outcome != mapihttp.NotResolved || found[1].Outcome != mapihttp.Resolved {
		t.Fatal(found, err)
	}
	proxies, _ := found[1].Values[2].(mapi.Multiple[mapi.String])
	if v := found[1].Values; v[0] != mapi.String(georgesName) || v[1] != mapi.ErrorCode(rop.NotFound) || len(proxies) != 1 {
		t.Error(v)
	}
	if contexts, _ := s.Left(); contexts != 1 {
		t.Errorf("%d session contexts", contexts)
	}
	if err := book.Unbind(t.Context()); err != nil {
		t.Error(err)
	}
	if contexts, _ := s.Left(); contexts != 0 {
		t.Errorf("%d session contexts", contexts)
	}
}

// TestFaults has what a client must live with.
func TestFaults(t *testing.T) {
	s, _ := start(t)
	s.AddMailbox("chris@sakes.example", "chris-pw-1", chrisName)
	r := connect(t, s)
	s.Busy(2)
	if err := r.Do(t.Context(), &rop.Batch{}); backends.AsFailure(err).Kind != backends.Throttled || errors.Is(err, rop.ErrLost) {
		t.Error(err)
	}
	if _, err := mapihttp.Connect(t.Context(), config(s, "george-pw-1"), georgesName); backends.AsFailure(err).Kind != backends.Throttled {
		t.Error(err)
	}
	s.Forget()
	var b rop.Batch
	rop.Open(&b, r.logon, &rop.OpenFolder{FolderID: r.inbox})
	if err := r.Do(t.Context(), &b); !errors.Is(err, rop.ErrLost) {
		t.Error(err)
	}
	if err := r.http.Revive(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.enter()
	if len(r.ids()) != 3 {
		t.Error("the Inbox is another one")
	}
	b = rop.Batch{}
	_, others := rop.Enter(&b, 1, &rop.Logon{LogonFlags: rop.LogonPrivate, Essdn: chrisName})
	_, nobody := rop.Enter(&b, 2, &rop.Logon{LogonFlags: rop.LogonPrivate, Essdn: "/o=Sakes/cn=nobody"})
	if err := r.Do(t.Context(), &b); err != nil || !errors.Is(others.Err(), rop.AccessDenied) || !errors.Is(nobody.Err(), rop.UnknownUser) {
		t.Error(err, others.Err(), nobody.Err())
	}
	if _, err := mapihttp.Connect(t.Context(), config(s, "wrong"), georgesName); backends.AsFailure(err).Kind != backends.BadCredentials {
		t.Error(err)
	}
	if _, err := mapihttp.Connect(t.Context(), config(s, "george-pw-1"), chrisName); backends.AsFailure(err).Kind != backends.Permanent {
		t.Error(err)
	}
	if err := r.http.Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStrict refuses what clients must not send.
func TestStrict(t *testing.T) {
	s, _ := start(t)
	s.Tolerate()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.TLS}}
	t.Cleanup(client.CloseIdleConnections)
	send := func(kind, cookie, body string, without string) (string, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("george@sakes.example", "george-pw-1")
		for _, name := range []string{"X-RequestId", "X-ClientInfo", "X-ClientApplication", "Content-Type"} {
			r.Header.Set(name, "x")
		}
		r.Header.Set("X-RequestType", kind)
		r.Header.Del(without)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		octets, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, reply, _ := strings.Cut(string(octets), "\r\n\r\n")
		return response.Header.Get("X-ResponseCode"), reply
	}
	connecting := georgesName + "\x00" + strings.Repeat("\x00", 20)
	if code, _ := send("Connect", "", connecting, ""); code != "0" {
		t.Fatal(code)
	}
	sequence := 0
	cookies := func() string {
		sequence++
		return fmt.Sprintf("MapiContext=context-1; MapiSequence=%d", sequence-1)
	}
	executing := func(buffer string) string {
		return "\x00\x00\x00\x00" + string(words(uint32(len(buffer)))) + buffer + "\x00\x80\x00\x00" + "\x00\x00\x00\x00"
	}
	for _, test := range []struct{ name, kind, cookie, body, without, code string }{
		{"no X-RequestId", "PING", "", "", "X-RequestId", "7"},
		{"no cookies", "PING", "", "", "", "13"},
		{"no sequence", "PING", "MapiContext=context-1", "", "", "13"},
		{"an old sequence", "PING", "MapiContext=context-1; MapiSequence=9", "", "", "15"},
		{"an unknown context", "PING", "MapiContext=context-9; MapiSequence=0", "", "", "10"},
		{"a PING with a body", "PING", cookies(), "x", "", "12"},
		{"an unknown type", "Dance", cookies(), "", "", "5"},
		{"sizes that lie", "Execute", cookies(), "\x00\x00\x00\x00\xff\x00\x00\x00", "", "12"},
		{"a Connect cut short", "Connect", "", "x", "", "12"},
		{"a Disconnect with more", "Disconnect", cookies(), "xxxxx", "", "12"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if code, _ := send(test.kind, test.cookie, test.body, test.without); code != test.code {
				t.Errorf("X-ResponseCode %s, want %s", code, test.code)
			}
		})
	}
	for _, test := range []struct{ name, buffer string }{
		{"no header", ""},
		{"another version", "\x01\x00\x04\x00\x02\x00\x02\x00\x02\x00"},
		{"not the last", "\x00\x00\x00\x00\x02\x00\x02\x00\x02\x00"},
		{"compressed", "\x00\x00\x05\x00\x02\x00\x03\x00\x02\x00"},
		{"a size that lies", "\x00\x00\x04\x00\x02\x00\x02\x00\x09\x00"},
		{"an unknown operation", "\x00\x00\x04\x00\x05\x00\x05\x00\x05\x00\xee\x00\x00"},
		{"an operation cut short", "\x00\x00\x04\x00\x05\x00\x05\x00\x05\x00\x02\x00\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, reply := send("Execute", cookies(), executing(test.buffer), "")
			if code != "0" || !strings.HasPrefix(reply, string(words(0, rpcFormat))) {
				t.Errorf("X-ResponseCode %s, %x", code, reply)
			}
		})
	}
}

// TestRecordings reads each recorded request whose operations are all here.
func TestRecordings(t *testing.T) {
	known := map[byte]bool{}
	for _, operation := range []byte{
		ropRelease, ropOpenFolder, ropOpenMessage, ropGetHierarchy, ropGetContentsTable, ropGetProperties, ropSetColumns, ropSortTable, ropQueryRows,
		ropMove, ropLongTermID, ropFromLongTermID, ropDelete, ropCopyMessages, ropCopyTo, ropGetBuffer, ropSetReadFlags, ropHardDelete, ropLogon,
		ropCreateMessage, ropSetProperties, ropDeleteProperties, ropSaveMessage, ropRemoveRecipients, ropModifyRecipients, ropCreateAttachment,
		ropSaveAttachment, ropOpenEmbedded, ropOpenStream, ropReadStream, ropWriteStream, ropSeekStream, ropStreamSize, ropCommitStream,
		ropGetSize, ropSubmit, ropTransportSend, ropAbortSubmit, ropSpoolerLock, ropSetSpooler, ropTransportFolder, ropReceiveFolder,
		ropGetIDs, ropRestrict,
	} {
		known[operation] = true
	}
	files, err := filepath.Glob("../../backends/exchange/testdata/mapi/*.json")
	if err != nil || len(files) != 16 {
		t.Fatal(files, err)
	}
	read := map[byte]bool{}
	for _, file := range files {
		for _, x := range recorded(t, file) {
			if operations := x.operations(known); operations != nil {
				s := &Server{t: t, room: roomMost, tolerant: true, faults: map[uint8]fault{}}
				m := s.AddMailbox("george", "", georgesName)
				c := &context{mailbox: m, objects: map[uint32]object{}}
				buffers, ok := payloads(x.buffer(t))
				if !ok {
					t.Fatalf("%s %s", filepath.Base(file), x.Name)
				}
				if executed, replies := s.run(c, buffers[0], roomMost); executed == nil {
					t.Errorf("%s %s: %x", filepath.Base(file), x.Name, replies)
				}
				for _, operation := range operations {
					read[operation] = true
				}
			}
		}
	}
	if len(read) != len(known) {
		t.Errorf("read were %v", read)
	}
}

type exchange struct {
	Name    string
	Request struct {
		Body    string `json:"body_hex"`
		Payload string `json:"payload_hex"`
		Decoded []struct {
			Offset int    `json:"o"`
			Name   string `json:"f"`
			Value  any    `json:"v"`
		}
	}
}

func recorded(t *testing.T, file string) []exchange {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Exchanges []exchange }
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return r.Exchanges
}

// operations returns those of a request if all are known, and if nothing in it was made to be wrong or compressed.
func (x exchange) operations(known map[byte]bool) (all []byte) {
	for _, f := range x.Request.Decoded {
		n, _ := f.Value.(float64)
		switch {
		case strings.HasSuffix(f.Name, ".RopId"):
			if !known[byte(n)] {
				return nil
			}
			all = append(all, byte(n))
		case f.Name == "RPC_HEADER_EXT.Flags" && int(n)&1 != 0:
			return nil
		}
	}
	for _, wrong := range []string{"RopSize too large", "public folders", "that lies"} {
		if strings.Contains(x.Name, wrong) {
			return nil
		}
	}
	return all
}

// buffer returns the RopBuffer.
func (x exchange) buffer(t *testing.T) []byte {
	t.Helper()
	body, err := hex.DecodeString(x.Request.Body)
	if err != nil {
		t.Fatal(err)
	}
	in := cursor{octets: body}
	in.u32()
	return in.take(int(in.u32()))
}
