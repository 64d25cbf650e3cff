package rop

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// field is what the recorder read at an offset of a body.
type field struct {
	Offset int    `json:"o"`
	Size   int    `json:"n"`
	Name   string `json:"f"`
	Value  any    `json:"v"`
}

// number returns the value of an integer, and false if it is something else.
func (f field) number() (uint64, bool) {
	n, ok := f.Value.(json.Number)
	if !ok {
		return 0, false
	}
	if unsigned, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return unsigned, true
	}
	signed, err := strconv.ParseInt(n.String(), 10, 64)
	return uint64(signed), err == nil
}

// side is a recorded request or response.
type side struct {
	Body    string  `json:"body_hex"`
	Payload string  `json:"payload_hex"`
	Decoded []field `json:"decoded"`
}

type exchange struct {
	Name              string
	Request, Response side
}

// parsed are the recordings that were read already.
var parsed = map[string][]exchange{}

// recorded returns the exchanges of a recording.
func recorded(t testing.TB, file string) []exchange {
	t.Helper()
	if all, ok := parsed[file]; ok {
		return all
	}
	raw, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var r struct{ Exchanges []exchange }
	d := json.NewDecoder(raw)
	d.UseNumber()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	parsed[file] = r.Exchanges
	return r.Exchanges
}

func recordings(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../testdata/mapi/*.json")
	if err != nil || len(files) != 16 {
		t.Fatal(files, err)
	}
	return files
}

func unhexed(t testing.TB, text string) []byte {
	t.Helper()
	octets, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// buffer returns the RopBuffer of an Execute, and nil if there is none.
func (s side) buffer(t testing.TB) []byte {
	t.Helper()
	for _, f := range s.Decoded {
		if f.Name == "RopBufferSize" {
			n, _ := f.number()
			body := unhexed(t, s.Body)
			return body[f.Offset+4:][:min(int(n), len(body)-f.Offset-4)]
		}
	}
	return nil
}

// part is an operation as the recorder read it: fields by name, with offsets in octets.
type part struct {
	id     ID
	octets []byte // what the offsets are of
	from   int
	to     int
	fields []field
}

var partName = regexp.MustCompile(`^(?:payload:)?(?:block\[\d+\]\.)?(?:rop|rsp)\[\d+\]\.(.*)$`)

// parts returns the operations of a side.
func (s side) parts(t testing.TB) []*part {
	t.Helper()
	octets := unhexed(t, s.Body)
	if s.Payload != "" {
		octets = unhexed(t, s.Payload)
	}
	var all []*part
	for _, f := range s.Decoded {
		m := partName.FindStringSubmatch(f.Name)
		if m == nil {
			continue
		}
		if f.Name = m[1]; f.Name == "RopId" {
			n, _ := f.number()
			all = append(all, &part{id: ID(n), octets: octets, from: f.Offset})
		}
		p := all[len(all)-1]
		p.fields, p.to = append(p.fields, f), f.Offset+f.Size
	}
	return all
}

// kind makes requests of one operation, and replies to them.
type kind func() (request, func() Reply)

func of[R Reply, Q interface {
	request
	replier[R]
}](construct func() Q) kind {
	return func() (request, func() Reply) {
		r := construct()
		return r, func() Reply { return r.reply() }
	}
}

// kinds are all operations that are recorded and are here.
var kinds = map[ID]kind{
	idLogon:                      of(func() *Logon { return &Logon{} }),
	idGetReceiveFolder:           of(func() *GetReceiveFolder { return &GetReceiveFolder{} }),
	idGetReceiveFolderTable:      of(func() *GetReceiveFolderTable { return &GetReceiveFolderTable{} }),
	idGetAddressTypes:            of(func() *GetAddressTypes { return &GetAddressTypes{} }),
	idGetPropertiesSpecific:      of(func() *GetPropertiesSpecific { return &GetPropertiesSpecific{} }),
	idOpenFolder:                 of(func() *OpenFolder { return &OpenFolder{} }),
	idGetHierarchyTable:          of(func() *GetHierarchyTable { return &GetHierarchyTable{} }),
	idSetColumns:                 of(func() *SetColumns { return &SetColumns{} }),
	idQueryRows:                  of(func() *QueryRows { return &QueryRows{} }),
	idGetPropertiesAll:           of(func() *GetPropertiesAll { return &GetPropertiesAll{} }),
	idGetTransportFolder:         of(func() *GetTransportFolder { return &GetTransportFolder{} }),
	idGetContentsTable:           of(func() *GetContentsTable { return &GetContentsTable{} }),
	idSortTable:                  of(func() *SortTable { return &SortTable{} }),
	idQueryPosition:              of(func() *QueryPosition { return &QueryPosition{} }),
	idSeekRow:                    of(func() *SeekRow { return &SeekRow{} }),
	idCreateBookmark:             of(func() *CreateBookmark { return &CreateBookmark{} }),
	idRestrict:                   of(func() *Restrict { return &Restrict{} }),
	idFindRow:                    of(func() *FindRow { return &FindRow{} }),
	idQueryColumnsAll:            of(func() *QueryColumnsAll { return &QueryColumnsAll{} }),
	idGetStatus:                  of(func() *GetStatus { return &GetStatus{} }),
	idResetTable:                 of(func() *ResetTable { return &ResetTable{} }),
	idOpenMessage:                of(func() *OpenMessage { return &OpenMessage{} }),
	idReloadCachedInformation:    of(func() *ReloadCachedInformation { return &ReloadCachedInformation{} }),
	idReadRecipients:             of(func() *ReadRecipients { return &ReadRecipients{} }),
	idGetPropertiesList:          of(func() *GetPropertiesList { return &GetPropertiesList{} }),
	idGetNamesFromPropertyIDs:    of(func() *GetNamesFromPropertyIDs { return &GetNamesFromPropertyIDs{} }),
	idGetPropertyIDsFromNames:    of(func() *GetPropertyIDsFromNames { return &GetPropertyIDsFromNames{} }),
	idOpenStream:                 of(func() *OpenStream { return &OpenStream{} }),
	idGetStreamSize:              of(func() *GetStreamSize { return &GetStreamSize{} }),
	idReadStream:                 of(func() *ReadStream { return &ReadStream{} }),
	idSeekStream:                 of(func() *SeekStream { return &SeekStream{} }),
	idOpenAttachment:             of(func() *OpenAttachment { return &OpenAttachment{} }),
	idWriteStream:                of(func() *WriteStream { return &WriteStream{} }),
	idGetAttachmentTable:         of(func() *GetAttachmentTable { return &GetAttachmentTable{} }),
	idOpenEmbeddedMessage:        of(func() *OpenEmbeddedMessage { return &OpenEmbeddedMessage{} }),
	idCreateFolder:               of(func() *CreateFolder { return &CreateFolder{} }),
	idSetMessageReadFlag:         of(func() *SetMessageReadFlag { return &SetMessageReadFlag{} }),
	idSetReadFlags:               of(func() *SetReadFlags { return &SetReadFlags{} }),
	idMoveCopyMessages:           of(func() *MoveCopyMessages { return &MoveCopyMessages{} }),
	idDeleteMessages:             of(func() *DeleteMessages { return &DeleteMessages{} }),
	idHardDeleteMessages:         of(func() *HardDeleteMessages { return &HardDeleteMessages{} }),
	idEmptyFolder:                of(func() *EmptyFolder { return &EmptyFolder{} }),
	idDeleteFolder:               of(func() *DeleteFolder { return &DeleteFolder{} }),
	idCreateMessage:              of(func() *CreateMessage { return &CreateMessage{} }),
	idSetProperties:              of(func() *SetProperties { return &SetProperties{} }),
	idModifyRecipients:           of(func() *ModifyRecipients { return &ModifyRecipients{} }),
	idCreateAttachment:           of(func() *CreateAttachment { return &CreateAttachment{} }),
	idSetStreamSize:              of(func() *SetStreamSize { return &SetStreamSize{} }),
	idCommitStream:               of(func() *CommitStream { return &CommitStream{} }),
	idSaveChangesAttachment:      of(func() *SaveChangesAttachment { return &SaveChangesAttachment{} }),
	idSaveChangesMessage:         of(func() *SaveChangesMessage { return &SaveChangesMessage{} }),
	idSubmitMessage:              of(func() *SubmitMessage { return &SubmitMessage{} }),
	idSetSpooler:                 of(func() *SetSpooler { return &SetSpooler{} }),
	idTransportSend:              of(func() *TransportSend { return &TransportSend{} }),
	idSpoolerLockMessage:         of(func() *SpoolerLockMessage { return &SpoolerLockMessage{} }),
	idAbortSubmit:                of(func() *AbortSubmit { return &AbortSubmit{} }),
	idOptionsData:                of(func() *OptionsData { return &OptionsData{} }),
	idDeleteProperties:           of(func() *DeleteProperties { return &DeleteProperties{} }),
	idRemoveAllRecipients:        of(func() *RemoveAllRecipients { return &RemoveAllRecipients{} }),
	idLongTermIDFromID:           of(func() *LongTermIDFromID { return &LongTermIDFromID{} }),
	idIDFromLongTermID:           of(func() *IDFromLongTermID { return &IDFromLongTermID{} }),
	idFastTransferCopyTo:         of(func() *FastTransferSourceCopyTo { return &FastTransferSourceCopyTo{} }),
	idFastTransferGetBuffer:      of(func() *FastTransferSourceGetBuffer { return &FastTransferSourceGetBuffer{} }),
	idFastTransferCopyMessages:   of(func() *FastTransferSourceCopyMessages { return &FastTransferSourceCopyMessages{} }),
	idFastTransferCopyProperties: of(func() *FastTransferSourceCopyProperties { return &FastTransferSourceCopyProperties{} }),
	idSynchronizationConfigure:   of(func() *SynchronizationConfigure { return &SynchronizationConfigure{} }),
	idUploadStateStreamBegin:     of(func() *UploadStateStreamBegin { return &UploadStateStreamBegin{} }),
	idUploadStateStreamEnd:       of(func() *UploadStateStreamEnd { return &UploadStateStreamEnd{} }),
	idRegisterNotification:       of(func() *RegisterNotification { return &RegisterNotification{} }),
	idRelease:                    func() (request, func() Reply) { return &release{}, func() Reply { return nil } },
}

// notHere are recorded operations that the package has not: two that the server has not either, one whose
// reply it gets wrong, one that is unknown, and one that is cut short.
var notHere = map[ID]bool{0x7B: true, 0x52: true, 0x5F: true, 0xEE: true, 0x20: true}

// build makes the request that the recorder has read, and says on which logon.
func (p *part) build(t testing.TB) (request, func() Reply, uint8) {
	t.Helper()
	construct, ok := kinds[p.id]
	if !ok {
		t.Fatalf("%s is not among the kinds", p.id)
	}
	r, reply := construct()
	logon := 0
	for _, f := range p.fields {
		if f.Name == "LogonId" {
			n, _ := f.number()
			logon = int(n)
			continue
		}
		if !p.special(r, f) {
			set(t, reflect.ValueOf(r).Elem(), f)
		}
	}
	return r, reply, uint8(logon)
}

// decoder decodes what is some octets behind the beginning of a field.
func (p *part) decoder(f field, behind int) *mapi.Decoder {
	return mapi.NewDecoder(p.octets[f.Offset+behind:p.to], mapi.Format{CodePage: codePage})
}

// special sets fields that are more than a number, a text or a list of numbers.
func (p *part) special(r request, f field) bool {
	size, _ := f.number()
	switch r := r.(type) {
	case *SetProperties:
		if f.Name == "PropertyValueSize" {
			r.PropertyValues = p.decoder(f, 2).TaggedValues()
		}
		return strings.HasPrefix(f.Name, "PropertyValue")
	case *Restrict:
		if f.Name == "RestrictionDataSize" && size > 0 {
			r.Restriction = p.decoder(f, 2).Restriction()
		}
		return strings.HasPrefix(f.Name, "Restriction")
	case *FindRow:
		if f.Name == "RestrictionDataSize" {
			r.Restriction = p.decoder(f, 2).Restriction()
		}
		return strings.HasPrefix(f.Name, "Restriction")
	case *GetPropertyIDsFromNames:
		if strings.HasSuffix(f.Name, ".Kind") {
			r.PropertyNames = append(r.PropertyNames, p.decoder(f, 0).Named())
		}
		return strings.HasPrefix(f.Name, "PropertyName")
	case *IDFromLongTermID:
		if strings.HasSuffix(f.Name, "DatabaseGuid") {
			r.LongTermID = p.decoder(f, 0).LongTermID()
		}
		return strings.HasPrefix(f.Name, "LongTermId")
	case *SortTable:
		if strings.HasSuffix(f.Name, ".PropertyTag") {
			d := p.decoder(f, 0)
			r.SortOrders = append(r.SortOrders, SortOrder{d.Tag(), d.Uint8()})
		}
		return strings.HasPrefix(f.Name, "SortOrder")
	case *ModifyRecipients:
		return p.recipient(r, f)
	case *ReadStream:
		return size == maximumFollows
	case *FastTransferSourceGetBuffer:
		return size == maximumFollows
	case *WriteStream:
		if f.Name == "Data" {
			r.Data = p.octets[f.Offset : f.Offset+f.Size]
		}
		return f.Name == "Data"
	case *EmptyFolder:
		if f.Name == "(rest)" {
			r.WantAsynchronous, r.WantDeleteAssociated = p.octets[f.Offset] != 0, p.octets[f.Offset+1] != 0
		}
		return f.Name == "(rest)"
	}
	return false
}

func (p *part) recipient(r *ModifyRecipients, f field) bool {
	size, _ := f.number()
	last := len(r.RecipientRows) - 1
	switch {
	case strings.HasSuffix(f.Name, ".RowId"):
		r.RecipientRows = append(r.RecipientRows, RecipientChange{RowID: uint32(size)})
	case strings.HasSuffix(f.Name, "].RecipientType"):
		r.RecipientRows[last].RecipientType = uint8(size)
	case strings.HasSuffix(f.Name, ".RecipientRowSize") && size > 0:
		row := p.decoder(f, 2).RecipientRow(r.RecipientColumns)
		r.RecipientRows[last].Row = &row
	}
	return strings.HasPrefix(f.Name, "RecipientRows") || f.Name == "RowCount"
}

// notFields are in requests and are not in their types: what can have one value alone, or is told by the length of a list.
var notFields = regexp.MustCompile(`^(RopId|Reserved|.*Count|.*Size|UseUnicodeStrings)$`)

// set sets the field of a request whose name is that of the specification.
func set(t testing.TB, r reflect.Value, f field) {
	t.Helper()
	name, _, list := strings.Cut(f.Name, "[")
	v := r.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
	if !v.IsValid() {
		if !notFields.MatchString(f.Name) {
			t.Errorf("%s has no field %s", r.Type(), f.Name)
		}
		return
	}
	if list {
		one := reflect.New(v.Type().Elem()).Elem()
		setOne(t, one, f)
		v.Set(reflect.Append(v, one))
		return
	}
	setOne(t, v, f)
}

func setOne(t testing.TB, v reflect.Value, f field) {
	t.Helper()
	n, isNumber := f.number()
	text, isText := f.Value.(string)
	switch {
	case v.Type() == reflect.TypeFor[mapi.ObjectID]() && isText:
		d := mapi.NewDecoder(unhexed(t, text), mapi.Format{})
		v.Set(reflect.ValueOf(mapi.Integer64(d.Uint64()).ObjectID()))
	case v.Kind() == reflect.Bool && isNumber:
		v.SetBool(n != 0)
	case v.CanUint() && isNumber:
		v.SetUint(n)
	case v.CanInt() && isNumber:
		v.SetInt(int64(n))
	case v.Kind() == reflect.String && isText:
		v.SetString(text)
	case v.Kind() == reflect.Slice && f.Size == 0:
	default:
		t.Errorf("%s cannot be set to %v", f.Name, f.Value)
	}
}

// reading is what the replies of a session can only be read with.
type reading struct {
	columns  map[uint32][]mapi.Tag        // of tables, by their handles
	messages map[uint32]*OpenMessageReply // that tell the columns of recipients
}

// TestRecordedRequests writes each recorded request again, octet for octet.
func TestRecordedRequests(t *testing.T) {
	written := map[ID]bool{}
	for _, file := range recordings(t) {
		for i, x := range recorded(t, file) {
			t.Run(fmt.Sprintf("%s/%d", strings.TrimSuffix(filepath.Base(file), ".json"), i), func(t *testing.T) {
				for _, p := range x.Request.parts(t) {
					if notHere[p.id] || strings.Contains(x.Name, "lies") {
						continue
					}
					r, _, logon := p.build(t)
					e := mapi.NewEncoder(nil, mapi.Format{CodePage: codePage})
					writeRequest(e, logon, r)
					if want := p.octets[p.from:p.to]; e.Err() != nil || !bytes.Equal(e.Octets(), want) {
						t.Errorf("%s: %x (%v), want %x", p.id, e.Octets(), e.Err(), want)
					}
					written[p.id] = true
				}
			})
		}
	}
	for id := range kinds {
		if !written[id] {
			t.Errorf("no %s was written", id)
		}
	}
}

// TestRecordedReplies reads each recorded reply to its end, and compares what is in it with what the recorder has read.
func TestRecordedReplies(t *testing.T) {
	read := map[ID]int{}
	for _, file := range recordings(t) {
		known := reading{map[uint32][]mapi.Tag{}, map[uint32]*OpenMessageReply{}}
		for i, x := range recorded(t, file) {
			t.Run(fmt.Sprintf("%s/%d", strings.TrimSuffix(filepath.Base(file), ".json"), i), func(t *testing.T) {
				known.check(t, x, read)
			})
		}
	}
	for id := range kinds {
		if read[id] == 0 && id != idRelease {
			t.Errorf("no reply to %s was read", id)
		}
	}
	if read[idNotify] != 17 {
		t.Errorf("%d notifications were read", read[idNotify])
	}
}

func (k reading) check(t *testing.T, x exchange, read map[ID]int) {
	octets, parts := x.Response.buffer(t), x.Response.parts(t)
	if len(octets) == 0 {
		return // none was executed
	}
	payloads, err := Payloads(octets)
	if err != nil {
		t.Fatal(err)
	}
	out, err := readOutput(payloads[0])
	if err != nil {
		t.Fatal(err)
	}
	p := &packet{}
	for _, q := range x.Request.parts(t) {
		if notHere[q.id] {
			return
		}
		p.calls = append(p.calls, k.call(t, q, out.handles))
	}
	s := &Session{}
	rest, err := s.read(p, payloads[0])
	if err != nil || len(rest) != 0 {
		t.Fatal(rest, err)
	}
	for _, payload := range payloads[1:] {
		if err := s.readFurther(p, payload); err != nil {
			t.Fatal(err)
		}
	}
	k.compare(t, p.calls, parts, s, len(payloads), read)
}

// call makes the call that a request was, with the columns that its reply is read with.
func (k reading) call(t *testing.T, q *part, handles []uint32) *call {
	r, reply, _ := q.build(t)
	handle := func(index uint8) uint32 {
		if int(index) < len(handles) {
			return handles[index]
		}
		return noHandle
	}
	c := &call{request: r, inputs: []*Object{{}}}
	switch r := r.(type) {
	case *SetColumns:
		k.columns[handle(r.InputHandleIndex)] = r.PropertyTags
	case *ResetTable:
		delete(k.columns, handle(r.InputHandleIndex))
	case *QueryRows:
		r.Columns = k.columns[handle(r.InputHandleIndex)]
	case *FindRow:
		r.Columns = k.columns[handle(r.InputHandleIndex)]
	case *ReadRecipients:
		r.Message = k.messages[handle(r.InputHandleIndex)]
	}
	if q.id != idRelease {
		c.reply = reply()
	}
	switch r := r.(type) {
	case *Logon:
		c.output = &Object{}
	case *ReloadCachedInformation:
		k.messages[handle(r.InputHandleIndex)] = c.reply.(*OpenMessageReply)
	case openRequest:
		c.output = &Object{}
		if m, ok := c.reply.(*OpenMessageReply); ok {
			k.messages[handle(r.opens().OutputHandleIndex)] = m
		}
	}
	return c
}

func (k reading) compare(t *testing.T, calls []*call, parts []*part, s *Session, payloads int, read map[ID]int) {
	notified := 0
	for _, p := range parts {
		if read[p.id]++; p.id == idNotify {
			comparePart(t, reflect.ValueOf(s.notifications[notified]), p)
			notified++
			continue
		}
		for len(calls) > 0 && calls[0].reply == nil {
			calls = calls[1:]
		}
		if len(calls) == 0 {
			if payloads == 1 {
				t.Errorf("nobody asked for %s", p.id)
			}
			return // the rest of a chain
		}
		reply := calls[0].reply
		if err := reply.Err(); err != nil {
			t.Log(err)
		}
		if payloads == 1 {
			comparePart(t, reflect.ValueOf(reply).Elem(), p)
		}
		calls = calls[1:]
	}
	if notified != len(s.notifications) {
		t.Errorf("%d notifications, want %d", len(s.notifications), notified)
	}
}

// comparePart compares the fields of a reply whose names are those of the specification, and the rows.
func comparePart(t *testing.T, reply reflect.Value, p *part) {
	t.Helper()
	for _, f := range p.fields {
		if strings.HasPrefix(f.Name, "RowData") {
			compareRow(t, reply, f)
			continue
		}
		name, _, list := strings.Cut(strings.ReplaceAll(f.Name, " ", "["), "[")
		v := reply.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
		if !v.IsValid() || strings.Contains(f.Name, ".") {
			continue
		}
		if list {
			var i int
			if _, err := fmt.Sscanf(f.Name[len(name):], "[%d", &i); err != nil || i >= v.Len() {
				t.Errorf("%s has %d, and %s is not among them", name, v.Len(), f.Name)
				continue
			}
			v = v.Index(i)
		}
		compareOne(t, v, f, p)
	}
}

func compareOne(t *testing.T, v reflect.Value, f field, p *part) {
	t.Helper()
	n, isNumber := f.number()
	got, want := fmt.Sprint(v.Interface()), fmt.Sprint(n)
	switch {
	case v.Kind() == reflect.Bool && isNumber:
		want = fmt.Sprint(n != 0)
	case v.CanInt():
		want = fmt.Sprint(int64(n))
	case v.CanUint():
		got = fmt.Sprint(v.Uint())
	case v.Type() == reflect.TypeFor[mapi.ObjectID]():
		got, want = fmt.Sprintf("%016x", uint64(v.Interface().(mapi.ObjectID).Integer())), fmt.Sprintf("%016x",
			mapi.NewDecoder(p.octets[f.Offset:], mapi.Format{}).Uint64())
	case v.Kind() == reflect.String:
		want = fmt.Sprint(f.Value)
	case v.Type() == reflect.TypeFor[[]byte]():
		got, want = fmt.Sprintf("%x", v.Bytes()), fmt.Sprintf("%x", p.octets[f.Offset:f.Offset+f.Size])
	case v.Type() == reflect.TypeFor[mapi.GUID]():
		got, want = fmt.Sprint(v.Interface()), fmt.Sprintf("{%v}", f.Value)
	default:
		return
	}
	if got != want {
		t.Errorf("%s is %s, want %s", f.Name, got, want)
	}
}

var rowField = regexp.MustCompile(`^RowData(?:\[(\d+)\])?\.([0-9a-f]{8})/[^.]*$`)

// compareRow compares a value of a row, if it is a number or a text.
func compareRow(t *testing.T, reply reflect.Value, f field) {
	t.Helper()
	m := rowField.FindStringSubmatch(f.Name)
	if m == nil {
		return
	}
	var row []mapi.Value
	var columns []mapi.Tag
	switch r := reply.Addr().Interface().(type) {
	case *QueryRowsReply:
		i, _ := strconv.Atoi(m[1])
		row, columns = r.Rows[i], r.columns
	case *FindRowReply:
		row, columns = r.Row, r.columns
	case *RowReply:
		row, columns = r.Values, r.columns
	}
	for i, column := range columns {
		if fmt.Sprintf("%08x", uint32(column)) == m[2] {
			compareValue(t, row[i], f)
			return
		}
	}
	t.Errorf("there is no column %s", f.Name)
}

func compareValue(t *testing.T, v mapi.Value, f field) {
	t.Helper()
	n, isNumber := f.number()
	text, isText := f.Value.(string)
	got, want := "", text
	switch v := v.(type) {
	case mapi.Integer32:
		got, want = fmt.Sprint(uint32(v)), fmt.Sprint(uint32(n))
	case mapi.Integer64:
		got, want = fmt.Sprint(uint64(v)), fmt.Sprint(n)
	case mapi.Time:
		got, want = fmt.Sprint(uint64(v)), fmt.Sprint(n)
	case mapi.ErrorCode:
		got, want = fmt.Sprint(uint32(v)), fmt.Sprint(n)
	case mapi.String:
		got = string(v)
	case mapi.String8:
		got = v.Text()
	default:
		return
	}
	if strings.Contains(text, "... (") {
		return // the recorder wrote its beginning alone
	}
	if got != want || !isNumber && !isText {
		t.Errorf("%s is %q, want %q", f.Name, got, want)
	}
}
