package exchange

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
)

// two is a server with two mailboxes, and george logged on.
func two(t *testing.T) (s *Server, georges, chriss *Mailbox, r *reader) {
	t.Helper()
	s = Start(t)
	georges = s.AddMailbox("george@sakes.example", "george-pw-1", georgesName)
	chriss = s.AddMailbox("chris@sakes.example", "chris-pw-1", chrisName)
	return s, georges, chriss, connect(t, s)
}

func (r *reader) folder(counter uint64) mapi.ObjectID {
	return mapi.ObjectID{Replica: 1, Counter: mapi.Counter{5: byte(counter)}}
}

// create makes a message in the Outbox.
func (r *reader) create(b *rop.Batch) *rop.Object {
	m, _ := rop.Open(b, r.logon, &rop.CreateMessage{CodePageID: rop.CodePageOfLogon, FolderID: r.folder(outbox)})
	return m
}

func to(address string, kind uint8) rop.RecipientChange {
	return rop.RecipientChange{RecipientType: kind, Row: &mapi.RecipientRow{
		Kind: mapi.RecipientSMTP, Unicode: true, NoRichInfo: true, EmailAddress: &address, DisplayName: &address,
		Values: []mapi.Value{mapi.String(address)},
	}}
}

func text(tag mapi.Tag, value string) mapi.Property {
	return mapi.Property{Tag: tag, Value: mapi.String(value)}
}

func addressed(b *rop.Batch, m *rop.Object, all ...rop.RecipientChange) {
	for i := range all {
		all[i].RowID = uint32(i)
	}
	rop.On(b, m, &rop.ModifyRecipients{RecipientColumns: []mapi.Tag{mapi.PidTagSmtpAddress}, RecipientRows: all})
}

func messageOf(t *testing.T, stream []byte) *mapi.Message {
	t.Helper()
	m, err := fasttransfer.NewReader(bytes.NewReader(stream), fasttransfer.Options{Keep: mapi.KeepInMemory}).Message()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSubmit makes a message operation by operation, with an attachment, and a message in another, and sends it.
func TestSubmit(t *testing.T) {
	s, georges, chriss, r := two(t)
	var b rop.Batch
	m := r.create(&b)
	set := rop.On(&b, m, &rop.SetProperties{PropertyValues: []mapi.Property{
		text(mapi.PidTagSubject, "Bill – grüß"), {Tag: mapi.PidTagObjectType, Value: mapi.Integer32(5)}, text(mapi.PidTagBody, "wrong"),
	}})
	addressed(&b, m, to("chris@sakes.example", 1), to("judy@elsewhere.example", 2), to("secret@elsewhere.example", 3))
	a, created := rop.Open(&b, m, &rop.CreateAttachment{})
	rop.On(&b, a, &rop.SetProperties{PropertyValues: []mapi.Property{{Tag: mapi.PidTagAttachMethod, Value: mapi.AttachByValue}}})
	data, _ := rop.Open(&b, a, &rop.OpenStream{PropertyTag: mapi.PidTagAttachDataBinary, OpenModeFlags: rop.OpenCreate})
	wrote := rop.On(&b, data, &rop.WriteStream{Data: []byte("0123456789")})
	rop.On(&b, data, &rop.SeekStream{Offset: 2})
	rop.On(&b, data, &rop.WriteStream{Data: []byte("xy")})
	rop.On(&b, data, &rop.SetStreamSize{StreamSize: 8})
	sized := rop.On(&b, data, &rop.GetStreamSize{})
	rop.On(&b, data, &rop.CommitStream{})
	rop.Save(&b, m, a, &rop.SaveChangesAttachment{SaveFlags: rop.SaveKeepOpenReadWrite})
	inner, _ := rop.Open(&b, m, &rop.CreateAttachment{})
	rop.On(&b, inner, &rop.SetProperties{PropertyValues: []mapi.Property{{Tag: mapi.PidTagAttachMethod, Value: mapi.AttachEmbedded}}})
	within, _ := rop.Open(&b, inner, &rop.OpenEmbeddedMessage{OpenModeFlags: rop.OpenCreate})
	rop.On(&b, within, &rop.SetProperties{PropertyValues: []mapi.Property{text(mapi.PidTagSubject, "Inner")}})
	rop.Save(&b, inner, within, &rop.SaveChangesMessage{SaveFlags: rop.SaveForce})
	rop.Save(&b, m, inner, &rop.SaveChangesAttachment{SaveFlags: rop.SaveKeepOpenReadWrite})
	body, _ := rop.Open(&b, m, &rop.OpenStream{PropertyTag: mapi.PidTagBody, OpenModeFlags: rop.OpenCreate})
	rop.On(&b, body, &rop.WriteStream{Data: []byte("H\x00i\x00")})
	rop.On(&b, body, &rop.CommitStream{})
	saved := rop.Save(&b, m, m, &rop.SaveChangesMessage{SaveFlags: rop.SaveKeepOpenReadWrite})
	rop.On(&b, m, &rop.SubmitMessage{})
	r.must(&b)
	if len(set.PropertyProblems) != 1 || set.PropertyProblems[0].PropertyTag != mapi.PidTagObjectType || created.AttachmentID != 0 {
		t.Error(set, created)
	}
	if wrote.WrittenSize != 10 || sized.StreamSize != 8 || saved.MessageID == (mapi.ObjectID{}) {
		t.Error(wrote, sized, saved)
	}
	got := chriss.Messages()
	if len(got) != 1 || len(georges.Messages()) != 0 {
		t.Fatal(len(got), len(georges.Messages()))
	}
	arrived := messageOf(t, got[0].Stream)
	if arrived.Text(mapi.PidTagSubject) != "Bill – grüß" || arrived.Text(mapi.PidTagBody) != "Hi" || arrived.Text(mapi.PidTagSenderSmtpAddress) != georges.User {
		t.Error(arrived)
	}
	if len(arrived.Recipients) != 2 || len(arrived.Attachments) != 2 || got[0].Flags&flagUnsent != 0 {
		t.Fatal(arrived.Recipients, arrived.Attachments, got[0].Flags)
	}
	if v, _ := mapi.As[mapi.Binary](&arrived.Attachments[0].Properties, mapi.PidTagAttachDataBinary); string(v) != "" {
		t.Error("the data are a property")
	}
	if file, err := arrived.Attachments[0].Data.Open(); err != nil {
		t.Error(err)
	} else if octets, err := io.ReadAll(file); err != nil || string(octets) != "01xy4567" {
		t.Errorf("%q, %v", octets, err)
	}
	if e := arrived.Attachments[1].Embedded; e == nil || e.Text(mapi.PidTagSubject) != "Inner" {
		t.Error(e)
	}
	sent := s.Sent()
	if len(sent) != 1 || strings.Join(sent[0].Recipients, " ") != "judy@elsewhere.example secret@elsewhere.example" || bytes.Contains(sent[0].Stream, wideOf("secret")) {
		t.Errorf("%+v", sent)
	}
}

// upload gives a recorded stream to a message that is being made.
func (r *reader) upload(t *testing.T, content []byte, most int) (*rop.Object, error) {
	t.Helper()
	var b rop.Batch
	m := r.create(&b)
	dest, _ := rop.Open(&b, m, &rop.FastTransferDestinationConfigure{SourceOperation: rop.DestinationCopyTo})
	r.must(&b)
	r.Packs = r.http.Packs()
	u := r.Upload(t.Context(), dest)
	w := fasttransfer.NewSplitWriter(most, u.Put)
	return m, errors.Join(w.Content(messageOf(t, content)), w.Flush(), u.Flush())
}

// TestUpload gives streams that were recorded, in pieces of all sizes, to servers that take several at once and to others: what comes
// back is what was given.
func TestUpload(t *testing.T) {
	for _, file := range []string{"fx-copyto-05.json", "fx-copyto-08.json"} {
		for _, single := range []bool{false, true} {
			for _, most := range []int{4096, rop.UploadMost} {
				s, georges, _, _ := two(t)
				if single {
					s.PacksNothing()
				}
				r := connect(t, s)
				m, err := r.upload(t, stream(t, file), most)
				if err != nil {
					t.Fatal(err)
				}
				var b rop.Batch
				rop.Save(&b, m, m, &rop.SaveChangesMessage{})
				r.must(&b)
				got := georges.Messages()
				if len(got) != 1 || got[0].Folder != "Outbox" {
					t.Fatal(got)
				}
				var want, have bytes.Buffer
				for to, from := range map[*bytes.Buffer][]byte{&want: stream(t, file), &have: got[0].Stream} {
					w := fasttransfer.NewWriter(to)
					if err := errors.Join(w.Content(messageOf(t, from)), w.Flush()); err != nil {
						t.Fatal(err)
					}
				}
				if want.Len() != have.Len() {
					t.Errorf("%s: %d octets, want %d", file, have.Len(), want.Len())
				}
			}
		}
	}
}

// TestSendingRefused is told why a message is not sent.
func TestSendingRefused(t *testing.T) {
	as := func(address string) mapi.Property {
		return text(mapi.PidTagSentRepresentingSmtpAddress, address)
	}
	for _, test := range []struct {
		name    string
		prepare func(s *Server, m *Mailbox)
		set     []mapi.Property
		to      []rop.RecipientChange
		want    rop.Code
	}{
		{"nobody", nil, nil, nil, rop.NoRecipients},
		{"as somebody else", nil, []mapi.Property{as("chris@sakes.example")}, []rop.RecipientChange{to("x@y.example", 1)}, rop.AccessDenied},
		{"as somebody who allows it", func(_ *Server, m *Mailbox) { m.SendAs = []string{"chris@sakes.example"} }, []mapi.Property{as("chris@sakes.example")}, []rop.RecipientChange{to("x@y.example", 1)}, rop.Success},
		{"full", func(_ *Server, m *Mailbox) { m.Quota = 10 }, nil, []rop.RecipientChange{to("x@y.example", 1)}, rop.QuotaExceeded},
		{"refused", func(s *Server, _ *Mailbox) { s.Refuse("x@y.example") }, nil, []rop.RecipientChange{to("x@y.example", 1)}, rop.CancelMessage},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, georges, _, r := two(t)
			if test.prepare != nil {
				test.prepare(s, georges)
			}
			var b rop.Batch
			m := r.create(&b)
			rop.On(&b, m, &rop.SetProperties{PropertyValues: test.set})
			addressed(&b, m, test.to...)
			sent := rop.On(&b, m, &rop.TransportSend{})
			if err := r.Do(t.Context(), &b); err != nil || sent.ReturnValue != test.want {
				t.Error(err, sent.ReturnValue)
			}
			if left := len(s.Sent()) > 0; left != (test.want == rop.Success) {
				t.Error("sent:", s.Sent())
			}
		})
	}
}

// TestSpooler leaves what is submitted where it is, for who takes it: one at a time.
func TestSpooler(t *testing.T) {
	s, georges, _, r := two(t)
	s.NoTransport()
	var b rop.Batch
	m := r.create(&b)
	addressed(&b, m, to("x@y.example", 1))
	rop.On(&b, r.logon, &rop.SetSpooler{})
	rop.On(&b, m, &rop.SubmitMessage{})
	r.must(&b)
	if all := georges.Messages(); len(all) != 1 || all[0].Flags&flagSubmitted == 0 || all[0].Folder != "Outbox" {
		t.Fatal(all)
	}
	waiting := number(georges.Messages()[0].ID)
	mid := mapi.ObjectID{Replica: 1, Counter: mapi.Counter(waiting[2:])}
	b = rop.Batch{}
	locked := rop.On(&b, r.logon, &rop.SpoolerLockMessage{MessageID: mid, LockState: rop.SpoolerLock})
	again := rop.On(&b, r.logon, &rop.SpoolerLockMessage{MessageID: mid, LockState: rop.SpoolerLock})
	aborted := rop.On(&b, r.logon, &rop.AbortSubmit{FolderID: r.folder(outbox), MessageID: mid})
	late := rop.On(&b, r.logon, &rop.SpoolerLockMessage{MessageID: mid, LockState: rop.SpoolerFinished})
	if err := r.Do(t.Context(), &b); err != nil || locked.Err() != nil || again.ReturnValue != rop.Busy || aborted.Err() != nil || late.ReturnValue != rop.NotInQueue {
		t.Error(err, locked, again, aborted, late)
	}
}

// TestRestrict finds a message by a named property.
func TestRestrict(t *testing.T) {
	_, georges, _, r := two(t)
	named := mapi.Named{Set: mapi.PSPublicStrings, Name: "Key"}
	var b rop.Batch
	ids := rop.On(&b, r.logon, &rop.GetPropertyIDsFromNames{Flags: rop.NamesCreate, PropertyNames: []mapi.Named{named}})
	unknown := rop.On(&b, r.logon, &rop.GetPropertyIDsFromNames{PropertyNames: []mapi.Named{{Set: mapi.PSPublicStrings, LID: 7}}})
	r.must(&b)
	names := rop.On(&b, r.logon, &rop.GetNamesFromPropertyIDs{PropertyIDs: ids.PropertyIDs})
	tag := mapi.NewTag(ids.PropertyIDs[0], mapi.PtypString)
	for _, key := range []string{"one", "two"} {
		m := r.create(&b)
		rop.On(&b, m, &rop.SetProperties{PropertyValues: []mapi.Property{text(tag, key), text(mapi.PidTagSubject, key)}})
		rop.Save(&b, m, m, &rop.SaveChangesMessage{})
	}
	folder, _ := rop.Open(&b, r.logon, &rop.OpenFolder{FolderID: r.folder(outbox)})
	table, _ := rop.Open(&b, folder, &rop.GetContentsTable{})
	columns := []mapi.Tag{mapi.PidTagSubject, tag}
	rop.On(&b, table, &rop.SetColumns{PropertyTags: columns})
	rop.On(&b, table, &rop.Restrict{Restriction: mapi.PropertyRestriction{Op: mapi.RelEQ, Tag: tag, Value: mapi.Property{Tag: tag, Value: mapi.String("two")}}})
	rows := rop.On(&b, table, &rop.QueryRows{ForwardRead: true, RowCount: 10, Columns: columns})
	r.must(&b)
	if len(rows.Rows) != 1 || rows.Rows[0][0] != mapi.String("two") || rows.Rows[0][1] != mapi.String("two") || names.PropertyNames[0] != named || unknown.PropertyIDs[0] != 0 {
		t.Error(rows.Rows, names.PropertyNames, unknown.PropertyIDs)
	}
	if len(georges.Messages()) != 2 {
		t.Error(georges.Messages())
	}
}

// TestWritingFaults loses a reply after the message was sent, and the session in the middle of an upload.
func TestWritingFaults(t *testing.T) {
	s, _, _, r := two(t)
	var b rop.Batch
	m := r.create(&b)
	addressed(&b, m, to("x@y.example", 1))
	r.must(&b)
	s.CutAt(Submit, 1)
	b = rop.Batch{}
	rop.On(&b, m, &rop.SubmitMessage{})
	if err := r.Do(t.Context(), &b); !errors.Is(err, rop.ErrLost) || len(s.Sent()) != 1 {
		t.Error(err, s.Sent())
	}
	r = connect(t, s)
	s.RestartAt(PutBuffer, 1)
	if _, err := r.upload(t, stream(t, "fx-copyto-08.json"), 4096); !errors.Is(err, rop.ErrLost) {
		t.Error(err)
	}
	if contexts, _ := s.Left(); contexts != 0 {
		t.Error(contexts)
	}
}

// TestStreamsAreChecked refuses streams that are split or made as they must not be.
func TestStreamsAreChecked(t *testing.T) {
	whole := stream(t, "fx-copyto-08.json")
	if parse(whole) == nil || parse(whole[:len(whole)-1]) != nil {
		t.Error("a stream that was recorded is not whole")
	}
	for name, pieces := range map[string][]string{
		"split in a tag":                     {"\x1f\x00", "\x37\x00\x02\x00\x00\x00\x00\x00"},
		"split in a length":                  {"\x1f\x00\x37\x00\x02\x00", "\x00\x00\x00\x00"},
		"a text without NUL":                 {"\x1f\x00\x37\x00\x02\x00\x00\x00x\x00"},
		"an end without start":               {"\x03\x00\x04\x40"},
		"no Boolean":                         {"\x0b\x00\x02\x0e\x01\x01"},
		"an embedded message in a recipient": {"\x03\x00\x03\x40", "\x03\x00\x01\x40"},
	} {
		u := newUpload(&item{})
		for _, piece := range pieces {
			u.put([]byte(piece))
		}
		if u.wrong == "" {
			t.Errorf("%s is taken", name)
		}
	}
}
