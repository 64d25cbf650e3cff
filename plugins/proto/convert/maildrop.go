package convert

import (
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/uidl"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// OpenToProto makes an Open request. [ErrText]: a name is not UTF-8.
func OpenToProto(r backends.OpenRequest) (*pb.Open, error) {
	credential, err := CredentialToProto(r.Credential)
	if err != nil {
		return nil, err
	}
	if err := checkText("folder", r.Folder); err != nil {
		return nil, err
	}
	return &pb.Open{Credential: credential, Folder: r.Folder}, nil
}

// OpenFromProto reads an Open request.
func OpenFromProto(m *pb.Open) (backends.OpenRequest, error) {
	credential, err := CredentialFromProto(m.GetCredential())
	if err != nil {
		return backends.OpenRequest{}, err
	}
	return backends.OpenRequest{Credential: credential, Folder: m.GetFolder()}, nil
}

// OpenedToProto makes the answer to Open.
func OpenedToProto(id uint64, o backends.Opened) *pb.MaildropResponse {
	return &pb.MaildropResponse{
		Id: id, Done: true, FolderId: strings.ToValidUTF8(o.FolderID, "\uFFFD"),
		Response: &pb.MaildropResponse_Opened{Opened: AccountToProto(o.Account)},
	}
}

// OpenedFromProto reads the answer to Open. What is remembered of messages hangs on the folder's
// id, so it is not mended either.
func OpenedFromProto(m *pb.MaildropResponse) (backends.Opened, error) {
	account, err := AccountFromProto(m.GetOpened())
	if err != nil {
		return backends.Opened{}, err
	}
	folderID := m.GetFolderId()
	if len(folderID) > folderMost || !printable(folderID) {
		return backends.Opened{}, wireError("a folder's id of %d octets that is too long or not printable", len(folderID))
	}
	return backends.Opened{Account: account, FolderID: folderID}, nil
}

// EntryToProto makes a list entry ready for the wire. An id that no store may have is an error.
func EntryToProto(e backends.Entry) (*pb.Entry, error) {
	if _, err := checkID([]byte(e.ID)); err != nil {
		return nil, err
	}
	m := &pb.Entry{
		Id:       []byte(e.ID),
		Size:     e.Size,
		Exact:    e.Exact,
		Received: timeToProto(e.Received),
		Seen:     e.Seen,
	}
	if uidl.Valid(e.UIDL) {
		m.Uidl = e.UIDL
	}
	return m, nil
}

// EntryFromProto reads a list entry. An id of no or of too many octets is an error; a UIDL
// that RFC 1939 does not allow is dropped.
func EntryFromProto(m *pb.Entry) (backends.Entry, error) {
	id, err := checkID(m.GetId())
	if err != nil {
		return backends.Entry{}, err
	}
	e := backends.Entry{
		ID:       id,
		Size:     max(-1, m.GetSize()),
		Received: timeFromProto(m.GetReceived()),
		Seen:     m.GetSeen(),
	}
	e.Exact = m.GetExact() && e.Size >= 0
	if uidl.Valid(m.GetUidl()) {
		e.UIDL = m.GetUidl()
	}
	return e, nil
}

// EntryMended says what of a list entry [EntryFromProto] takes as not known, since it breaks the rules.
func EntryMended(m *pb.Entry) error {
	switch {
	case m.GetUidl() != "" && !uidl.Valid(m.GetUidl()):
		return wireError("a unique-id that is not 1 to %d characters from 0x21 to 0x7E (RFC 1939 section 7): %q", uidl.Most, Line(m.GetUidl(), uidl.Most))
	case m.GetSize() < -1:
		return wireError("the size %d of a message; -1 is one that is not known", m.GetSize())
	case m.GetReceived() != nil && timeFromProto(m.GetReceived()).IsZero():
		return wireError("a time that no message can be of: %d seconds since 1970", m.GetReceived().GetSeconds())
	}
	return nil
}

// FetchToProto makes a Fetch request with the window that it starts with, in octets.
func FetchToProto(r backends.FetchManyRequest, window int64) (*pb.Fetch, error) {
	ids, rendering, err := wantedToProto(r.IDs, backends.FetchManyMost, r.Rendering)
	if err != nil {
		return nil, err
	}
	return &pb.Fetch{
		Ids: ids, Top: r.Top, Lines: toInt32(max(0, r.Lines)), Rendering: rendering, Window: window,
	}, nil
}

// FetchFromProto reads a Fetch request.
func FetchFromProto(m *pb.Fetch) (r backends.FetchManyRequest, err error) {
	r.Top, r.Lines = m.GetTop(), max(0, int(m.GetLines()))
	r.IDs, r.Rendering, err = wantedFromProto(m.GetIds(), backends.FetchManyMost, m.GetRendering())
	return r, err
}

// wantedToProto makes what a request is about, that many messages at the most in one form, ready for the wire.
func wantedToProto(ids []backends.MessageID, most int, form backends.Rendering) ([][]byte, *pb.Rendering, error) {
	if err := checkWanted(len(ids), most); err != nil {
		return nil, nil, err
	}
	octets, err := idsToProto(ids)
	if err != nil {
		return nil, nil, err
	}
	rendering, err := RenderingToProto(form)
	return octets, rendering, err
}

// wantedFromProto reads what a request is about.
func wantedFromProto(octets [][]byte, most int, form *pb.Rendering) ([]backends.MessageID, backends.Rendering, error) {
	if err := checkWanted(len(octets), most); err != nil {
		return nil, backends.Rendering{}, err
	}
	ids, err := idsFromProto(octets)
	if err != nil {
		return nil, backends.Rendering{}, err
	}
	rendering, err := RenderingFromProto(form)
	return ids, rendering, err
}

func checkWanted(messages, most int) error {
	if messages == 0 || messages > most {
		return wireError("a request for %d messages, and 1 to %d are allowed", messages, most)
	}
	return nil
}

// RenderingToProto makes a rendering ready for the wire; the zero value needs no message.
func RenderingToProto(r backends.Rendering) (*pb.Rendering, error) {
	if r == (backends.Rendering{}) {
		return nil, nil
	}
	if err := checkText("charset", r.Charset); err != nil {
		return nil, err
	}
	if err := checkText("calendar link", r.CalendarLink); err != nil {
		return nil, err
	}
	return &pb.Rendering{
		Encoding: pb.Encoding(r.Encoding), Body: pb.BodyForm(r.Body), Charset: r.Charset, RichText: r.RichText,
		Wrap: int32(min(max(0, r.Wrap), backends.RenderingWrapMost)), Calendar: pb.CalendarForm(r.Calendar), CalendarLink: r.CalendarLink,
	}, nil
}

// RenderingFromProto reads a rendering. A form that is not known is [backends.Unsupported]:
// serving another one instead would break what sizes and UIDLs were told before.
func RenderingFromProto(m *pb.Rendering) (backends.Rendering, error) {
	if m == nil {
		return backends.Rendering{}, nil
	}
	if _, ok := pb.Encoding_name[int32(m.GetEncoding())]; !ok {
		return backends.Rendering{}, backends.Fail(backends.Unsupported, "encoding %d", m.GetEncoding())
	}
	if _, ok := pb.BodyForm_name[int32(m.GetBody())]; !ok {
		return backends.Rendering{}, backends.Fail(backends.Unsupported, "body form %d", m.GetBody())
	}
	if _, ok := pb.CalendarForm_name[int32(m.GetCalendar())]; !ok {
		return backends.Rendering{}, backends.Fail(backends.Unsupported, "calendar form %d", m.GetCalendar())
	}
	if m.GetWrap() < 0 || m.GetWrap() > backends.RenderingWrapMost || len(m.GetCalendarLink()) > backends.RenderingLinkMost {
		return backends.Rendering{}, wireError("lines of %d columns, and a link of %d octets", m.GetWrap(), len(m.GetCalendarLink()))
	}
	return backends.Rendering{
		Encoding: backends.Encoding(m.GetEncoding()), Body: backends.BodyForm(m.GetBody()),
		Charset: m.GetCharset(), RichText: m.GetRichText(),
		Wrap: int(m.GetWrap()), Calendar: backends.CalendarForm(m.GetCalendar()), CalendarLink: m.GetCalendarLink(),
	}, nil
}

// RemoveToProto makes a Remove request.
func RemoveToProto(ids []backends.MessageID, disposal backends.Disposal) (*pb.Remove, error) {
	octets, err := idsToProto(ids)
	if err != nil {
		return nil, err
	}
	return &pb.Remove{Disposal: pb.Disposal(disposal), Ids: octets}, nil
}

// MarkSeenToProto makes a MarkSeen request.
func MarkSeenToProto(ids []backends.MessageID) (*pb.MarkSeen, error) {
	octets, err := idsToProto(ids)
	if err != nil {
		return nil, err
	}
	return &pb.MarkSeen{Ids: octets}, nil
}

// MarkSeenFromProto reads a MarkSeen request.
func MarkSeenFromProto(m *pb.MarkSeen) ([]backends.MessageID, error) { return idsFromProto(m.GetIds()) }

func idsToProto(ids []backends.MessageID) ([][]byte, error) {
	all := make([][]byte, len(ids))
	for i, id := range ids {
		if _, err := checkID([]byte(id)); err != nil {
			return nil, err
		}
		all[i] = []byte(id)
	}
	return all, nil
}

func idsFromProto(octets [][]byte) ([]backends.MessageID, error) {
	ids := make([]backends.MessageID, len(octets))
	for i, id := range octets {
		var err error
		if ids[i], err = checkID(id); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// RemoveFromProto reads a Remove request. A disposal that is not known is
// [backends.Unsupported]: nothing else is done in its place.
func RemoveFromProto(m *pb.Remove) ([]backends.MessageID, backends.Disposal, error) {
	if _, ok := pb.Disposal_name[int32(m.GetDisposal())]; !ok {
		return nil, 0, backends.Fail(backends.Unsupported, "disposal %d", m.GetDisposal())
	}
	ids, err := idsFromProto(m.GetIds())
	if err != nil {
		return nil, 0, err
	}
	return ids, backends.Disposal(m.GetDisposal()), nil
}

// RemovalsToProto makes the answer to Remove.
func RemovalsToProto(removals []backends.Removal) *pb.Removals {
	m := &pb.Removals{Removals: make([]*pb.Removal, len(removals))}
	for i, r := range removals {
		m.Removals[i] = &pb.Removal{Id: []byte(r.ID), Failure: FailureToProto(r.Failure)}
	}
	return m
}

// RemovalsFromProto reads the answer to Remove. It has to name exactly the ids that were asked
// about, in their order (I4); otherwise nothing in it can be believed, and it is an error.
func RemovalsFromProto(m *pb.Removals, asked []backends.MessageID) ([]backends.Removal, error) {
	if len(m.GetRemovals()) != len(asked) {
		return nil, wireError("%d removals where %d were asked for", len(m.GetRemovals()), len(asked))
	}
	removals := make([]backends.Removal, 0, len(asked))
	for _, r := range m.GetRemovals() {
		removals = append(removals, backends.Removal{
			ID: backends.MessageID(r.GetId()), Failure: FailureFromProto(r.GetFailure()),
		})
	}
	same := slices.EqualFunc(removals, asked, func(r backends.Removal, id backends.MessageID) bool { return r.ID == id })
	if !same {
		return nil, wireError("%d removals that are not the %d asked for", len(removals), len(asked))
	}
	return removals, nil
}
