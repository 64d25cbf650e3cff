package backends

import (
	"context"
	"fmt"
	"io"
	"iter"
	"syscall"
	"time"
)

// Reader is a store whose mailboxes can be read.
type Reader interface {
	// Open logs in and opens one folder as a maildrop, in one call. It fails as Login does,
	// and with [NotFound] (no such folder) or [InUse] (the store itself holds it exclusively).
	// The maildrop lives until Close; the context bounds the opening alone.
	Open(ctx context.Context, request OpenRequest) (Maildrop, error)
}

// OpenRequest says which folder to open, and on whose behalf.
type OpenRequest struct {
	Credential Credential
	// Folder is the folder's path with "/" between its parts; empty: the inbox.
	Folder string
}

// MessageID is the store's own name for a message: opaque octets, 1 to 1024 of them, the same
// in every session as long as the message lives in this folder, and never used again for another.
type MessageID string

// Entry is one message of a maildrop's list.
type Entry struct {
	ID MessageID
	// Size in octets of what Fetch gives for the whole message under the default rendering.
	// -1: not known without rendering it.
	Size int64
	// Exact says that Size is not an estimate.
	Exact bool
	// Received is when the store took the message in; zero: unknown.
	Received time.Time
	// Seen says that the store has the message marked as read.
	Seen bool
	// UIDL is the unique-id that another POP3 server gave to this message and that clients
	// may remember (RFC 1939 §7); empty, as a rule: the gateway makes one from the ID.
	UIDL string
}

// Opened is what was opened: whose mailbox, and which folder of it.
type Opened struct {
	// Account is whose credential opened the maildrop, as Login gives it.
	Account Account
	// FolderID is the folder's identity inside its account: 1 to 1024 octets of printable text,
	// the same by whatever name and whatever form of login the folder was opened, and another one
	// for every other folder of the account, compared octet by octet. Together with Account.ID it
	// is the key of everything that the gateway remembers of the folder.
	FolderID string
	// AfterLoss calls f in a goroutine of its own if the maildrop comes to an end before it is
	// closed, as that of a plugin whose process dies. It returns what [context.AfterFunc] returns.
	// A backend leaves it nil: package plugins/host sets it.
	AfterLoss func(f func()) (stop func() bool)
}

// Maildrop is one open folder as one POP3 session sees it. Its methods may be called from
// several goroutines at once: having several Fetches in flight is how latency is hidden.
type Maildrop interface {
	// Opened says what was opened. It is the same at each call, and does not wait.
	Opened() Opened

	// List yields every message of the folder, oldest first, as it stands at the call, but
	// for those that are marked as deleted (DisposalMark): nobody sees them again here. An
	// error ends the sequence and means that the list is not complete. It is called once.
	List(ctx context.Context) iter.Seq2[Entry, error]

	// Fetch opens a message, or its top. The context covers the reading too. Failures:
	// [NotFound] when the message is gone since the list was made, [Poison] when the store
	// has it but cannot render it, [Temporary] and the like.
	Fetch(ctx context.Context, request FetchRequest) (Content, error)

	// Remove removes exactly these messages, by id, and says of each whether it is gone.
	// A message that is gone already counts as removed. The results are in the order of the
	// ids; the error is for a call that failed as a whole, when nothing is known of any. With no ids
	// it removes nothing, and says whether messages of this folder can be disposed of so: where they
	// cannot, it fails as it would with ids ([Unsupported]). The gateway asks so before it promises a
	// client anything.
	Remove(ctx context.Context, ids []MessageID, disposal Disposal) ([]Removal, error)

	// Close ends the session. It removes nothing that Remove was not asked to. Contents
	// that are still open fail.
	Close() error
}

// Marker is a [Maildrop] that can mark messages as read.
type Marker interface {
	// MarkSeen marks messages as read: Entry.Seen says so from then on, and nothing else of them
	// changes, their ids least of all. One that is gone, or marked already, is passed over.
	// [Unsupported]: the store has no such mark.
	MarkSeen(ctx context.Context, ids []MessageID) error
}

// ManyFetcher is a [Maildrop] that gives several messages upon one request, one after the other.
// A backend implements it where that is cheaper than several Fetches; for others package
// plugins/serve makes it of Fetch.
type ManyFetcher interface {
	// FetchMany asks for messages, or for their tops. It need not wait for any of them. The context
	// covers all of the request; what fails as a whole fails here or with each message.
	FetchMany(ctx context.Context, request FetchManyRequest) (Contents, error)
}

// FetchManyMost is how many messages one FetchMany asks for at the most.
const FetchManyMost = 64

// FetchManyRequest says which messages are wanted, 1 to [FetchManyMost] of them, how much of each,
// and in what form, as a [FetchRequest] does for one.
type FetchManyRequest struct {
	IDs       []MessageID
	Top       bool
	Lines     int
	Rendering Rendering
	// Counted says that the messages are only counted, and are likely to be asked for next: a backend to which rendering them is
	// dear may keep what it has rendered until the maildrop is closed.
	Counted bool
}

// One is the request for the message i by itself.
func (r FetchManyRequest) One(i int) FetchRequest {
	return FetchRequest{ID: r.IDs[i], Top: r.Top, Lines: r.Lines, Rendering: r.Rendering}
}

// Contents are the messages of one FetchMany, in the order in which they were asked for. One
// goroutine uses them.
type Contents interface {
	// Next opens the next message. Of those before it none is read any more; one whose File has been
	// taken stays open until its Close. A failure is the message's own, as Fetch would tell it, and
	// the next Next gives the message behind it. The context covers the reading too. After the last
	// message: io.EOF.
	Next(ctx context.Context) (Content, error)
	// Close gives up what has not been read. It is to be called in any case.
	Close() error
}

// FileContent is a [Content] whose octets stand in a file. The gateway may take the open file
// itself over, and then reads neither the content nor the file's path.
type FileContent interface {
	Content
	// File is the open file, and where in it the message stands: so many octets from offset on,
	// whose canonical form (package backends/mail/crlf) is exactly what Read gives. The file is
	// the content's own, and open until Close. It is nil where there is none this time.
	File() (file OpenFile, offset, length int64)
}

// WholeFileContent is a [Content] that is all of a file at which the backend need not have looked: the gateway asks the
// system itself how long the file is and whether it is a regular one, and would do so in any case. It is a [FileContent],
// too, for a gateway that does not.
type WholeFileContent interface {
	FileContent
	// WholeFile is the open file, as [FileContent].File gives it, and the size of its canonical form in octets if the file
	// has so many octets as length says; -1: whatever it has. It is nil where there is none this time, or where
	// the size is not known. A message whose file has another length, or is no regular one, is asked for again by
	// itself, with Fetch.
	WholeFile() (file OpenFile, size, length int64)
}

// OpenFile is a regular file that is open for reading: an [os.File], or a descriptor that is none,
// which costs fewer system calls.
type OpenFile interface {
	io.ReaderAt
	syscall.Conn // whose Control is used
}

// FetchRequest says which message is wanted, how much of it, and in what form.
type FetchRequest struct {
	ID MessageID
	// Top asks for the header, the empty line and the first Lines lines of the body
	// (RFC 1939 §7, TOP); otherwise the whole message comes and Lines is not looked at.
	Top   bool
	Lines int
	// Rendering matters to stores that keep properties rather than the message's own octets.
	// The same message under the same rendering gives the same octets each time.
	Rendering Rendering
}

// Content is a message on its way out of a store. It is read by one goroutine.
//
// Read returns io.EOF only when the message is complete; whatever else ends it returns
// another error, so that a part can never be taken for the whole (I3). A content may
// implement [io.WriterTo], which spares a copy.
type Content interface {
	io.Reader
	// Size is the number of octets that will come; -1: not known.
	Size() int64
	// Close gives up what has not been read. It is to be called in any case.
	Close() error
}

// Rendering is the policy by which a store that keeps properties makes a message of them.
// The zero value is MIME with the best body the store has, in UTF-8. A store is asked for what its
// description has alone, see [Reading.Rendering].
type Rendering struct {
	Encoding Encoding
	Body     BodyForm
	Charset  string // IANA name for text parts; empty: UTF-8
	RichText bool   // attach the store's rich text (Exchange: TNEF) for clients that read it
	Wrap     int    // columns of a line of plain text at the most, where the store can; 0: as many as it has
	Calendar CalendarForm
	// CalendarLink is the address for [CalendarLink], such as "https://owa.example/owa/". The store puts ids in the place of words
	// in braces that it knows ("{uid}").
	CalendarLink string
}

// RenderingWrapMost is the largest Rendering.Wrap, and RenderingLinkMost how many octets a Rendering.CalendarLink may have.
const (
	RenderingWrapMost = 998 // RFC 5322 §2.1.1
	RenderingLinkMost = 1000
)

// CalendarForm is what a meeting or an appointment is sent as.
type CalendarForm uint8

// The forms of meetings. The numbers are on the wire.
const (
	CalendarICal CalendarForm = 0 // text/calendar (RFC 5545), beside the body
	CalendarText CalendarForm = 1 // plain text that says when and where it is
	CalendarLink CalendarForm = 2 // that, with Rendering.CalendarLink
)

// String is the form's word in the configuration.
func (c CalendarForm) String() string {
	switch c {
	case CalendarICal:
		return "icalendar"
	case CalendarText:
		return "text"
	case CalendarLink:
		return "link"
	}
	return fmt.Sprintf("calendar form %d", uint8(c))
}

// Encoding is how attachments travel.
type Encoding uint8

// The encodings. The numbers are on the wire.
const (
	EncodingMIME     Encoding = 0
	EncodingUUENCODE Encoding = 1
)

// String is the encoding's word in the configuration.
func (e Encoding) String() string {
	switch e {
	case EncodingMIME:
		return "mime"
	case EncodingUUENCODE:
		return "uuencode"
	}
	return fmt.Sprintf("encoding %d", uint8(e))
}

// BodyForm is which of a message's bodies is sent.
type BodyForm uint8

// The body forms. The numbers are on the wire.
const (
	BodyBest         BodyForm = 0 // whatever form the message was written in
	BodyText         BodyForm = 1 // text/plain alone
	BodyHTML         BodyForm = 2 // text/html alone
	BodyTextAndHTML  BodyForm = 3 // multipart/alternative of both
	BodyTextEnriched BodyForm = 4 // text/enriched (RFC 1896)
)

// String is the body form's word in the configuration.
func (b BodyForm) String() string {
	switch b {
	case BodyBest:
		return "best"
	case BodyText:
		return "text"
	case BodyHTML:
		return "html"
	case BodyTextAndHTML:
		return "both"
	case BodyTextEnriched:
		return "enriched"
	}
	return fmt.Sprintf("body form %d", uint8(b))
}

// Disposal is what becomes of a message that a client has deleted.
type Disposal uint8

// The disposals. The numbers are on the wire. A store that cannot do what is asked answers
// [Unsupported] rather than do something else.
const (
	DisposalRemove Disposal = 0 // gone for good
	DisposalTrash  Disposal = 1 // moved to the store's folder for deleted mail
	DisposalMark   Disposal = 2 // marked as deleted: in the folder for others, no longer listed
)

// String is the disposal's word in the configuration.
func (d Disposal) String() string {
	switch d {
	case DisposalRemove:
		return "remove"
	case DisposalTrash:
		return "trash"
	case DisposalMark:
		return "mark"
	}
	return fmt.Sprintf("disposal %d", uint8(d))
}

// Removal is what became of one message.
type Removal struct {
	ID MessageID
	// Failure is nil when the message is gone.
	Failure *Failure
}
