package rop

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
)

// script is a Transport that answers from a list, and keeps what it was sent.
type script struct {
	t       *testing.T
	answers [][]byte // extended buffers
	sent    [][]byte // payloads
	flags   []uint32
}

func (s *script) Execute(_ context.Context, flags uint32, requests []byte, _ uint32) ([]byte, error) {
	payloads, err := Payloads(requests)
	if err != nil || len(payloads) != 1 {
		s.t.Fatal(payloads, err)
	}
	s.sent, s.flags = append(s.sent, payloads[0]), append(s.flags, flags)
	if len(s.answers) == 0 {
		return nil, io.ErrClosedPipe
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	return answer, nil
}

// answer is an extended buffer of payloads, each of replies and handles.
func answer(t *testing.T, payloads ...[]byte) []byte {
	t.Helper()
	var all []byte
	for i, payload := range payloads {
		begin := len(all)
		var err error
		if all, err = (Framing{}).Append(all, payload); err != nil {
			t.Fatal(err)
		}
		if i < len(payloads)-1 {
			binary.LittleEndian.PutUint16(all[begin+2:], 0)
		}
	}
	return all
}

// replies is a payload.
func replies(t *testing.T, text string, handles ...uint32) []byte {
	t.Helper()
	octets := unhexed(t, strings.ReplaceAll(text, " ", ""))
	payload := append(binary.LittleEndian.AppendUint16(nil, uint16(len(octets)+2)), octets...)
	for _, handle := range handles {
		payload = binary.LittleEndian.AppendUint32(payload, handle)
	}
	return payload
}

func open(handle uint32) *Object { return &Object{handle: handle, opened: true} }

// TestExamples has the specifications' own octets.
func TestExamples(t *testing.T) {
	for _, test := range []struct {
		name string
		r    request
		want string
	}{
		{"MS-OXCTABL §4.1.1", &GetContentsTable{Opens: Opens{0, 1}}, "05 00 00 01 00"},
		{"MS-OXCTABL §4.5.3.1", &QueryRows{ForwardRead: true, RowCount: 50}, "15 00 00 00 01 32 00"},
		{"MS-OXCPRPT §4.2", &SetProperties{PropertyValues: []mapi.Property{
			{Tag: mapi.PidTagSubjectPrefix, Value: mapi.String("")}, {Tag: mapi.PidTagNormalizedSubject, Value: mapi.String("Hello World")},
		}}, "0a 00 00 24 00 02 00 1f 00 3d 00 00 00 1f 00 1d 0e 48 00 65 00 6c 00 6c 00 6f 00 20 00 57 00 6f 00 72 00 6c 00 64 00 00 00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := mapi.NewEncoder(nil, mapi.Format{})
			writeRequest(e, 0, test.r)
			if want := unhexed(t, strings.ReplaceAll(test.want, " ", "")); e.Err() != nil || !bytes.Equal(e.Octets(), want) {
				t.Errorf("%x, %v, want %x", e.Octets(), e.Err(), want)
			}
		})
	}
	t.Run("MS-OXCROPS §4.4", func(t *testing.T) {
		s := &script{t: t, answers: [][]byte{answer(t, replies(t, "", 0x6F, 0x6E))}}
		var b Batch
		first, second := open(0x6F), open(0x6E)
		Release(&b, first)
		Release(&b, second)
		if err := (&Session{Transport: s}).Do(t.Context(), &b); err != nil || b.Err() != nil {
			t.Fatal(err, b.Err())
		}
		if want := unhexed(t, "080001000001000"+"16f0000006e000000"); !bytes.Equal(s.sent[0], want) {
			t.Errorf("%x, want %x", s.sent[0], want)
		}
		if first.Opened() || second.Opened() {
			t.Error("they are still open")
		}
	})
	t.Run("MS-OXCTABL §4.3.2", func(t *testing.T) {
		d := newDecoder(unhexed(t, "000000"+"0000"))
		reply := &TableStatusReply{}
		if err := readReply(d, idSortTable, reply); err != nil || reply.Err() != nil || d.Left() != 0 {
			t.Error(err, reply.Err(), d.Left())
		}
	})
}

// TestRecordedBatch makes a batch as a caller does, and sends what was recorded of the same operations.
func TestRecordedBatch(t *testing.T) {
	x := recorded(t, "../testdata/mapi/02-logon-folders.json")[7]
	s := &script{t: t, answers: [][]byte{x.Response.buffer(t)}}
	parts := x.Request.parts(t)
	tree, columns := build[*OpenFolder](t, parts[0]), build[*SetColumns](t, parts[2])
	var b Batch
	folder, opened := Open(&b, open(0), &OpenFolder{FolderID: tree.FolderID})
	table, counted := Open(&b, folder, &GetHierarchyTable{TableFlags: TableDepth})
	On(&b, table, &SetColumns{PropertyTags: columns.PropertyTags})
	rows := On(&b, table, &QueryRows{ForwardRead: true, RowCount: build[*QueryRows](t, parts[3]).RowCount, Columns: columns.PropertyTags})
	if err := rows.Err(); !errors.Is(err, ErrUnanswered) {
		t.Error(err)
	}
	if err := (&Session{Transport: s}).Do(t.Context(), &b); err != nil || b.Err() != nil {
		t.Fatal(err, b.Err())
	}
	want, err := Payloads(x.Request.buffer(t))
	if err != nil || !bytes.Equal(s.sent[0], want[0]) {
		t.Errorf("%x, %v, want %x", s.sent[0], err, want)
	}
	if opened.HasRules || len(rows.Rows) != int(counted.RowCount) || rows.Origin != OriginEnd || len(rows.Rows) < 10 {
		t.Errorf("%+v %+v %d", opened, counted, len(rows.Rows))
	}
	if !folder.Opened() || !table.Opened() || folder.Handle() == table.Handle() {
		t.Errorf("%+v %+v", folder, table)
	}
}

func build[R request](t *testing.T, p *part) R {
	t.Helper()
	r, _, _ := p.build(t)
	return r.(R)
}

// TestAfterFailure goes on after a folder that is not there, as the recorded server does.
func TestAfterFailure(t *testing.T) {
	x := recorded(t, "../testdata/mapi/10-chained-compressed-obfuscated.json")[1]
	s := &script{t: t, answers: [][]byte{x.Response.buffer(t)}}
	var b Batch
	folder, opened := Open(&b, open(0), &OpenFolder{})
	table, counted := Open(&b, folder, &GetContentsTable{})
	columns := On(&b, table, &SetColumns{})
	session := &Session{Transport: s}
	if err := session.Do(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(opened.Err(), NotFound) || !errors.Is(counted.Err(), NullObject) || !errors.Is(columns.Err(), NullObject) || b.Err() != opened.Err() && !errors.Is(b.Err(), NotFound) {
		t.Error(opened.Err(), counted.Err(), columns.Err(), b.Err())
	}
	if folder.Opened() {
		t.Error("the folder is open")
	}
	// What was not opened is not asked for later: the script would have no answer.
	var later Batch
	Release(&later, table)
	again := On(&later, folder, &GetPropertiesList{})
	if err := session.Do(t.Context(), &later); err != nil || !errors.Is(again.Err(), NullObject) {
		t.Error(err, again.Err())
	}
}

// statuses are n replies to RopGetStatus.
func statuses(n int) string { return strings.Repeat("16 00 00 00 00 00 00 ", n) }

func TestBufferTooSmall(t *testing.T) {
	t.Run("the rest is sent again", func(t *testing.T) {
		s := &script{t: t, answers: [][]byte{
			answer(t, replies(t, statuses(2)+"ff ff 7f 16 00 00", 5)),
			answer(t, replies(t, statuses(1), 5)),
		}}
		var b Batch
		table := open(5)
		var all []*TableStatusReply
		for range 3 {
			all = append(all, On(&b, table, &GetStatus{}))
		}
		if err := (&Session{Transport: s}).Do(t.Context(), &b); err != nil || b.Err() != nil {
			t.Fatal(err, b.Err())
		}
		if len(s.sent) != 2 || len(s.sent[1]) != 2+3+4 || all[2].Err() != nil {
			t.Errorf("%x", s.sent)
		}
	})
	t.Run("nothing fits", func(t *testing.T) {
		s := &script{t: t, answers: [][]byte{answer(t, replies(t, "ff ff 7f 16 00 00", 5))}}
		var b Batch
		On(&b, open(5), &GetStatus{})
		if err := (&Session{Transport: s}).Do(t.Context(), &b); !errors.Is(err, BufferTooSmall) {
			t.Error(err)
		}
	})
	t.Run("other requests", func(t *testing.T) {
		s := &script{t: t, answers: [][]byte{answer(t, replies(t, "ff ff 7f 16 00", 5))}}
		var b Batch
		On(&b, open(5), &GetStatus{})
		if err := (&Session{Transport: s}).Do(t.Context(), &b); !errors.Is(err, ErrProtocol) {
			t.Error(err)
		}
	})
}

// TestBackoff stops where the server asks for it, and goes on there.
func TestBackoff(t *testing.T) {
	s := &script{t: t, answers: [][]byte{
		answer(t, replies(t, statuses(1)+"f9 00 e8 03 00 00 01 16 d0 07 00 00 00 00", 5)),
		answer(t, replies(t, statuses(1), 5)),
	}}
	var b Batch
	first, second := On(&b, open(5), &GetStatus{}), On(&b, open(5), &GetStatus{})
	session := &Session{Transport: s}
	var backoff *BackoffError
	if err := session.Do(t.Context(), &b); !errors.As(err, &backoff) || backoff.Wait != 2*time.Second || !errors.Is(err, ServerBusy) {
		t.Fatal(err)
	}
	if first.Err() != nil || !errors.Is(second.Err(), ErrUnanswered) || !errors.Is(b.Err(), ErrUnanswered) {
		t.Error(first.Err(), second.Err(), b.Err())
	}
	if err := session.Do(t.Context(), &b); err != nil || second.Err() != nil || len(s.sent[1]) != 2+3+4 {
		t.Error(err, second.Err(), s.sent)
	}
}

// TestSplit sends more than one buffer holds.
func TestSplit(t *testing.T) {
	s := &script{t: t}
	var b Batch
	stream := open(9)
	data := bytes.Repeat([]byte{'x'}, 20_000)
	for range 3 {
		On(&b, stream, &WriteStream{Data: data})
		s.answers = append(s.answers, answer(t, replies(t, "2d 00 00 00 00 00 20 4e", 9)))
	}
	if err := (&Session{Transport: s}).Do(t.Context(), &b); err != nil || b.Err() != nil || len(s.sent) != 3 {
		t.Fatal(err, b.Err(), len(s.sent))
	}
	var large Batch
	On(&large, stream, &WriteStream{Data: make([]byte, PayloadMost)})
	if err := (&Session{Transport: s}).Do(t.Context(), &large); err == nil {
		t.Error("a request that is too large was sent")
	}
}

// TestManyObjects opens more than a table of handles holds.
func TestManyObjects(t *testing.T) {
	s := &script{t: t}
	var b Batch
	logon := open(0)
	first, second := "", ""
	handles := []uint32{0}
	for i := range 300 {
		Open(&b, logon, &OpenAttachment{})
		if i < 254 {
			first += "22 " + hexOctet(i+1) + " 00 00 00 00 "
		} else {
			second += "22 " + hexOctet(i-254+1) + " 00 00 00 00 "
		}
		handles = append(handles, uint32(i+1))
	}
	s.answers = [][]byte{answer(t, replies(t, first, handles[:255]...)), answer(t, replies(t, second, handles[:47]...))}
	if err := (&Session{Transport: s}).Do(t.Context(), &b); err != nil || b.Err() != nil || len(s.sent) != 2 {
		t.Error(err, b.Err(), len(s.sent))
	}
}

func hexOctet(n int) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[n>>4], digits[n&15]})
}

// TestChain reads a stream that goes on in further payloads.
func TestChain(t *testing.T) {
	s := &script{t: t, answers: [][]byte{answer(t,
		replies(t, statuses(1)+"2c 01 00 00 00 00 02 00 61 62", 5, 6), replies(t, "6e 01 00 2c 01 00 00 00 00 01 00 63", 5, 6))}}
	session := &Session{Transport: s, Chain: true}
	var b Batch
	On(&b, open(5), &GetStatus{})
	data := On(&b, open(6), &ReadStream{MaximumByteCount: 1 << 20})
	if err := session.Do(t.Context(), &b); err != nil || string(data.Data) != "abc" || !session.Pending {
		t.Errorf("%v %q", err, data.Data)
	}
	if s.flags[0] != ExecuteNoCompression|ExecuteNoXorMagic|ExecuteChain {
		t.Errorf("flags 0x%x", s.flags[0])
	}
	s.answers = [][]byte{answer(t, replies(t, "2c 00 00 00 00 00 01 00 61", 6), replies(t, "2c 00 05 40 00 80 00 00", 6))}
	b = Batch{}
	data = On(&b, open(6), &ReadStream{MaximumByteCount: 1 << 20})
	if err := session.Do(t.Context(), &b); err != nil || !errors.Is(data.Err(), GeneralError) {
		t.Errorf("what failed in a chain: %v, %v", err, data.Err())
	}
}

// TestFailuresThatSayMore reads replies of operations that failed, with what the specification puts behind the
// ReturnValue, and without it.
func TestFailuresThatSayMore(t *testing.T) {
	for _, test := range []struct{ name, reply string }{
		{"RopWriteStream", "2d 00 05 00 03 80 00 00"},
		{"RopWriteStream, short", "2d 00 05 00 03 80"},
		{"RopReadStream", "2c 00 02 01 04 80 00 00"},
		{"RopReadStream, short", "2c 00 02 01 04 80"},
		{"RopDeleteMessages", "1e 00 05 00 07 80 01"},
		{"RopDeleteMessages, short", "1e 00 05 00 07 80"},
		{"RopMoveCopyMessages", "33 00 03 05 00 00 01 00 00 00 01"},
		{"RopFastTransferSourceGetBuffer", "4e 00 80 04 00 00 01 00 00 00 00 00 00 00 00 e8 03 00 00"},
		{"RopFastTransferSourceGetBuffer, short", "4e 00 80 04 00 00"},
		{"RopLogon", "fe 00 78 04 00 00 01 03 65 78 00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{t: t, answers: [][]byte{answer(t, replies(t, test.reply+statuses(1), 5, 6))}}
			var b Batch
			var failed Reply
			object, table := open(5), open(6)
			switch name, _, _ := strings.Cut(test.name, ","); name {
			case "RopWriteStream":
				failed = On(&b, object, &WriteStream{})
			case "RopReadStream":
				failed = On(&b, object, &ReadStream{})
			case "RopDeleteMessages":
				failed = On(&b, object, &DeleteMessages{})
			case "RopMoveCopyMessages":
				failed = Move(&b, object, open(7), &MoveCopyMessages{})
			case "RopFastTransferSourceGetBuffer":
				failed = On(&b, object, &FastTransferSourceGetBuffer{})
			case "RopLogon":
				_, failed = Enter(&b, 0, &Logon{})
			}
			status := On(&b, table, &GetStatus{})
			s.answers[0] = answer(t, replies(t, test.reply+strings.Replace(statuses(1), "16 00", "16 "+hexOctet(len(tableOf(b))-1), 1), 5, 6, 7))
			if err := (&Session{Transport: s}).Do(t.Context(), &b); err != nil || failed.Err() == nil || status.Err() != nil {
				t.Error(err, failed.Err(), status.Err())
			}
			if logon, ok := failed.(*LogonReply); ok && (logon.ServerName != "ex" || !errors.Is(logon.Err(), WrongServer)) {
				t.Errorf("%+v", logon)
			}
		})
	}
}

// tableOf returns the objects of a batch in the order of their places.
func tableOf(b Batch) []*Object {
	var all []*Object
	for _, c := range b.waiting {
		for _, o := range append(slices.Clone(c.inputs), c.output) {
			if o != nil && !slices.Contains(all, o) {
				all = append(all, o)
			}
		}
	}
	return all
}

// TestRepliesAreRefused has servers that do not keep to the protocol.
func TestRepliesAreRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		payload []byte
	}{
		{"no payload", nil},
		{"a size too small", []byte{1, 0}},
		{"a size too large", []byte{9, 0, 0}},
		{"half a handle", []byte{2, 0, 0, 0}},
		{"no reply", replies(t, "", 5)},
		{"a reply to something else", replies(t, "17 00 00 00 00 00 00", 5)},
		{"a reply at another place", replies(t, "16 01 00 00 00 00 00", 5)},
		{"a reply cut short", replies(t, "16 00 00 00 00 00", 5)},
		{"a reply too many", replies(t, statuses(2), 5)},
		{"an unknown notification", replies(t, "2a 01 00 00 00 00 00 08", 5)},
		{"a notification cut short", replies(t, "2a 01 00 00 00 00 02 80 01", 5)},
		{"a backoff cut short", replies(t, "f9 00 00", 5)},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b Batch
			On(&b, open(5), &GetStatus{})
			s := &script{t: t, answers: [][]byte{answer(t, test.payload)}}
			if err := (&Session{Transport: s}).Do(t.Context(), &b); !errors.Is(err, ErrProtocol) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("no handle", func(t *testing.T) {
		var b Batch
		Open(&b, open(5), &OpenAttachment{})
		s := &script{t: t, answers: [][]byte{answer(t, replies(t, "22 01 00 00 00 00", 5))}}
		if err := (&Session{Transport: s}).Do(t.Context(), &b); !errors.Is(err, ErrProtocol) {
			t.Error(err)
		}
	})
}

// TestNotificationsAreBounded drops what nobody takes.
func TestNotificationsAreBounded(t *testing.T) {
	s := &script{t: t}
	session := &Session{Transport: s}
	for range 3 {
		s.answers = append(s.answers, answer(t, replies(t, strings.Repeat("2a 01 00 00 00 00 80 00 01 00 00 00 00 00 00 0d ", 500))))
		if err := session.Do(t.Context(), &Batch{}); err != nil {
			t.Fatal(err)
		}
	}
	all := session.Notifications()
	if len(all) != NotificationsMost || len(session.Notifications()) != 0 {
		t.Errorf("%d", len(all))
	}
	if n := all[0]; n.Type != NotifySearchCompleted || n.FolderID != (mapi.ObjectID{Replica: 1, Counter: mapi.Counter{5: 0x0D}}) {
		t.Errorf("%+v", n)
	}
}

// partial is a reply to RopFastTransferSourceGetBuffer.
func partial(status, text string) string {
	return "4e 00 00 00 00 00 " + status + " 00 00 00 00 00 00 " + hexOctet(len(text)/2) + " 00 " + text
}

func TestDownload(t *testing.T) {
	t.Run("whole", func(t *testing.T) {
		s := &script{t: t, answers: [][]byte{
			answer(t, replies(t, partial("01", "6162"), 5)), answer(t, replies(t, partial("01", ""), 5)), answer(t, replies(t, partial("03", "63"), 5)),
		}}
		got, err := io.ReadAll((&Session{Transport: s}).Download(t.Context(), open(5)))
		if err != nil || string(got) != "abc" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("busy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &script{t: t, answers: [][]byte{
				answer(t, replies(t, "4e 00 80 04 00 00 01 00 00 00 00 00 00 00 00 b8 0b 00 00", 5)), answer(t, replies(t, partial("03", "63"), 5)),
			}}
			begun := time.Now()
			got, err := io.ReadAll((&Session{Transport: s}).Download(t.Context(), open(5)))
			if err != nil || string(got) != "c" || time.Since(begun) != 3*time.Second {
				t.Errorf("%q, %v after %v", got, err, time.Since(begun))
			}
		})
	})
	t.Run("busy for ever", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &script{t: t}
			for range busyMost + 1 {
				s.answers = append(s.answers, answer(t, replies(t, "4e 00 80 04 00 00", 5)))
			}
			if _, err := io.ReadAll((&Session{Transport: s}).Download(t.Context(), open(5))); !errors.Is(err, ServerBusy) {
				t.Error(err)
			}
		})
	})
	for _, test := range []struct {
		name   string
		answer string
		want   error
	}{
		{"failed", "4e 00 05 40 00 80 00 00 00 00 00 00 00 00 00", GeneralError},
		{"broken off", partial("00", ""), GeneralError},
		{"a status that is unknown", partial("04", ""), GeneralError},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{t: t, answers: [][]byte{answer(t, replies(t, partial("01", "61"), 5)), answer(t, replies(t, test.answer, 5))}}
			got, err := io.ReadAll((&Session{Transport: s}).Download(t.Context(), open(5)))
			if string(got) != "a" || !errors.Is(err, test.want) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	t.Run("never an end", func(t *testing.T) {
		s := &script{t: t}
		for range emptyMost + 1 {
			s.answers = append(s.answers, answer(t, replies(t, partial("01", ""), 5)))
		}
		if _, err := io.ReadAll((&Session{Transport: s}).Download(t.Context(), open(5))); !errors.Is(err, ErrProtocol) {
			t.Error(err)
		}
	})
	t.Run("cut off", func(t *testing.T) {
		s := &script{t: t, answers: [][]byte{answer(t, replies(t, partial("01", "61"), 5))}}
		got, err := io.ReadAll((&Session{Transport: s}).Download(t.Context(), open(5)))
		if string(got) != "a" || !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestStream(t *testing.T) {
	s := &script{t: t, answers: [][]byte{
		answer(t, replies(t, "2c 00 00 00 00 00 02 00 61 62", 5)), answer(t, replies(t, "2c 00 00 00 00 00 00 00", 5)),
	}}
	got, err := io.ReadAll((&Session{Transport: s}).Stream(t.Context(), open(5)))
	if err != nil || string(got) != "ab" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := io.ReadAll((&Session{Transport: s}).Stream(t.Context(), open(5))); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCodes(t *testing.T) {
	err := error(&Error{idLogon, AccessDenied})
	if err.Error() != "RopLogon: access is denied (0x80070005)" || Code(0x80040FFE).Error() != "error 0x80040ffe" || ID(0xEE).String() != "the operation 0xee" {
		t.Error(err, Code(0x80040FFE), ID(0xEE))
	}
	for code, want := range map[Code]bool{Success: false, NotFound: false, NullObject: false, CancelMessage: true, PartialCompletion: true} {
		if code.Warning() != want {
			t.Errorf("%v", code)
		}
	}
}
