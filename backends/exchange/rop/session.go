package rop

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dipylon/dipylon/backends/pause"
)

// Flags of an Execute, MS-OXCRPC §3.1.4.2.
const (
	ExecuteNoCompression uint32 = 0x00000001
	ExecuteNoXorMagic    uint32 = 0x00000002
	ExecuteChain         uint32 = 0x00000004
)

// Transport carries buffers to a server and back.
type Transport interface {
	// Execute sends an extended buffer of requests and returns that of their replies, which is to have
	// no more than most octets (MS-OXCMAPIHTTP §2.2.4.2; EcDoRpcExt2 of MS-OXCRPC §3.1.4.2).
	Execute(ctx context.Context, flags uint32, requests []byte, most uint32) ([]byte, error)
}

// Most octets of the replies to one Execute.
const (
	// replyMost is one payload of the largest size with its header.
	replyMost uint32 = 0x10008
	// chainMost is what a server may fill with several payloads, MS-OXCRPC §3.1.4.2.
	chainMost uint32 = 0x40000
)

// NotificationsMost is how many notifications a [Session] keeps until somebody takes them.
const NotificationsMost = 1000

// Session sends batches. It is used by one goroutine at a time.
type Session struct {
	Transport Transport
	// Framing is how requests are written, and what the server is allowed to do with replies.
	Framing Framing
	// Chain lets a server go on with the last operation of a batch, if it reads rows or a stream, in further payloads.
	Chain bool
	// Packs says that the server takes several payloads of an upload in one Execute (PACKED_FAST_TRANSFER_UPLOAD_BUFFERS, MS-OXCRPC
	// §2.2.2.2.19).
	Packs bool
	// Pending says that the server has spoken of notifications that are yet to come (RopPending).
	Pending bool

	notifications []Notification
}

// Notifications returns those that have come since it was called last. Those beyond [NotificationsMost] are dropped.
func (s *Session) Notifications() []Notification {
	all := s.notifications
	s.notifications, s.Pending = nil, false
	return all
}

// BackoffError says that the server wants to be asked nothing more for a while. MS-OXCROPS §2.2.15.2.
type BackoffError struct{ Wait time.Duration }

func (e *BackoffError) Error() string {
	return fmt.Sprintf("rop: the server asks to be left alone for %v", e.Wait)
}

// Is says that the server is busy.
func (e *BackoffError) Is(target error) bool { return target == ServerBusy }

// ErrProtocol says that what a server sent is not what it may send.
var ErrProtocol = errors.New("rop: the server does not keep to the protocol")

// Do sends the operations of a batch. It returns an error if one of them was not answered: that is the transport's, a
// [BackoffError], or says what is wrong with the replies. What an operation was answered with is in its reply.
// An empty batch fetches notifications.
func (s *Session) Do(ctx context.Context, b *Batch) error {
	for {
		p, err := b.pack()
		if err != nil {
			return err
		}
		if len(p.calls) == 0 && len(b.replies) > 0 {
			return nil // nothing is left that a server could answer
		}
		rest, err := s.execute(ctx, p)
		b.waiting = append(rest, b.waiting...)
		if err != nil || len(b.waiting) == 0 {
			return err
		}
		if len(rest) == len(p.calls) {
			return fmt.Errorf("rop: %s: %w", rest[0].request.ID(), BufferTooSmall)
		}
	}
}

// execute sends what is in a packet, and returns the calls that the server did not get to.
func (s *Session) execute(ctx context.Context, p *packet) ([]*call, error) {
	flags, most := s.flags(p)
	requests, err := s.Framing.Append(nil, p.payload())
	if err != nil {
		return nil, err
	}
	octets, err := s.Transport.Execute(ctx, flags, requests, most)
	if err != nil {
		return nil, err
	}
	payloads, err := Payloads(octets)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	rest, err := s.read(p, payloads[0])
	for _, payload := range payloads[1:] {
		if err != nil || len(rest) > 0 {
			break
		}
		err = s.readFurther(p, payload)
	}
	return rest, err
}

func (s *Session) flags(p *packet) (flags, most uint32) {
	most = replyMost
	if !s.Framing.Compress {
		flags |= ExecuteNoCompression
	}
	if !s.Framing.Obfuscate {
		flags |= ExecuteNoXorMagic
	}
	if s.Chain && len(p.calls) > 0 {
		if _, goesOn := p.calls[len(p.calls)-1].reply.(extended); goesOn {
			flags, most = flags|ExecuteChain, chainMost
		}
	}
	return flags, most
}

// output is a ROP output buffer, MS-OXCROPS §2.2.1.
type output struct {
	replies *decoder
	handles []uint32
}

func readOutput(payload []byte) (output, error) {
	if len(payload) < 2 {
		return output{}, fmt.Errorf("%w: a buffer of %d octets", ErrProtocol, len(payload))
	}
	size := int(binary.LittleEndian.Uint16(payload))
	if size < 2 || size > len(payload) || (len(payload)-size)%4 != 0 {
		return output{}, fmt.Errorf("%w: replies of %d octets in a buffer of %d", ErrProtocol, size, len(payload))
	}
	out := output{replies: newDecoder(payload[2:size])}
	for table := payload[size:]; len(table) > 0; table = table[4:] {
		out.handles = append(out.handles, binary.LittleEndian.Uint32(table))
	}
	return out, nil
}

// read reads the replies to a packet, and returns the calls that the server did not get to.
func (s *Session) read(p *packet, payload []byte) ([]*call, error) {
	out, err := readOutput(payload)
	if err != nil {
		return nil, err
	}
	calls := p.calls
	for d := out.replies; d.Left() > 0; {
		id := ID(d.Uint8())
		switch id {
		case idNotify, idPending:
			err = s.unasked(d, id)
		case idBackoff:
			return delayed(calls), d.backoff()
		case idBufferTooSmall:
			return unprocessed(p.calls, d)
		default:
			calls, err = answered(calls, d, id, out.handles)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
	}
	if rest := delayed(calls); len(rest) > 0 {
		return nil, fmt.Errorf("%w: %s was not answered", ErrProtocol, rest[0].request.ID())
	}
	return nil, nil
}

// delayed returns the calls that the server did not get to: those from the first on that has a reply.
func delayed(calls []*call) []*call {
	rest := fromReply(calls)
	for _, released := range calls[:len(calls)-len(rest)] {
		released.release()
	}
	return rest
}

// fromReply returns the calls from the first that has a reply on.
func fromReply(calls []*call) []*call {
	for i, c := range calls {
		if c.reply != nil {
			return calls[i:]
		}
	}
	return nil
}

// answered reads the reply to the next of the calls that has one, and returns those behind it.
func answered(calls []*call, d *decoder, id ID, handles []uint32) ([]*call, error) {
	rest := delayed(calls)
	if len(rest) == 0 {
		return nil, fmt.Errorf("a reply to %s, which was not asked", id)
	}
	c := rest[0]
	if index := d.Uint8(); id != c.request.ID() || index != c.request.replied() {
		return nil, fmt.Errorf("a reply to %s at %d in the place of one to %s at %d", id, index, c.request.ID(), c.request.replied())
	}
	if err := readReply(d, id, c.reply); err != nil {
		return nil, err
	}
	return rest[1:], c.open(handles)
}

// release notes that the server has forgotten an object.
func (c *call) release() { c.inputs[0].opened = false }

// open notes the handle of what a call has opened.
func (c *call) open(handles []uint32) error {
	if c.output == nil || c.reply.Err() != nil {
		return nil
	}
	index := int(c.request.replied())
	if index >= len(handles) || handles[index] == noHandle {
		return fmt.Errorf("%s has opened something without a handle", c.request.ID())
	}
	c.output.handle, c.output.opened = handles[index], true
	return nil
}

// unprocessed reads a RopBufferTooSmall, MS-OXCROPS §2.2.15.1: behind it are the requests that the server had no room to
// answer, which are the last of those that were sent.
func unprocessed(calls []*call, d *decoder) ([]*call, error) {
	d.Uint16() // SizeNeeded
	left := d.Left()
	for i := len(calls) - 1; i >= 0 && left > 0; i-- {
		if left -= calls[i].size; left == 0 {
			for _, c := range calls[:i] {
				if c.reply == nil {
					c.release()
				} else if errors.Is(c.reply.Err(), ErrUnanswered) {
					return nil, fmt.Errorf("%w: %s was not answered", ErrProtocol, c.request.ID())
				}
			}
			return calls[i:], nil
		}
	}
	return nil, fmt.Errorf("%w: RopBufferTooSmall with requests that were not sent", ErrProtocol)
}

// unasked reads what comes between replies.
func (s *Session) unasked(d *decoder, id ID) error {
	if id == idPending {
		d.Uint16() // SessionIndex
		s.Pending = true
		return d.failed()
	}
	n := d.notification()
	if err := d.failed(); err != nil {
		return fmt.Errorf("rop: %s: %w", id, err)
	}
	if len(s.notifications) < NotificationsMost {
		s.notifications = append(s.notifications, n)
	}
	return nil
}

// backoff reads a RopBackoff, MS-OXCROPS §2.2.15.2.
func (d *decoder) backoff() error {
	d.Uint8() // LogonId
	wait := d.Uint32()
	for range d.Uint8() {
		d.Uint8() // RopIdBackoff
		wait = max(wait, d.Uint32())
	}
	d.Bytes(int(d.Uint16())) // AdditionalData
	if err := d.failed(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrProtocol, idBackoff, err)
	}
	return &BackoffError{milliseconds(wait)}
}

// readFurther reads a payload in which the last operation goes on.
func (s *Session) readFurther(p *packet, payload []byte) error {
	out, err := readOutput(payload)
	if err != nil {
		return err
	}
	last := p.calls[len(p.calls)-1]
	reply, goesOn := last.reply.(extended)
	for d := out.replies; d.Left() > 0; {
		id := ID(d.Uint8())
		switch {
		case id == idNotify || id == idPending:
			err = s.unasked(d, id)
		case !goesOn || id != last.request.ID() || d.Uint8() != last.request.replied():
			err = fmt.Errorf("a further reply to %s, which is not the last operation", id)
		default:
			err = extendReply(d, last.reply, reply)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
	}
	return nil
}

func extendReply(d *decoder, r Reply, reply extended) error {
	head := r.head()
	code := Code(d.Uint32())
	switch f, fails := r.(failing); {
	case code == Success:
		reply.extend(d)
	case fails:
		head.ReturnValue = code
		f.readFailure(d)
	default:
		head.ReturnValue = code
	}
	return d.failed()
}

// Bounds of a transfer.
const (
	bufferMost = 0x7F00          // octets of a stream that leave room for what stands around them in a payload
	waitMost   = time.Minute     // for a server that is busy
	busyMost   = 10              // times in a row
	emptyMost  = 100             // replies in a row that have nothing
	patience   = 5 * time.Second // where the server does not say how long to wait
)

// Download reads the FastTransfer stream of an object that one of the FastTransferSource requests has opened.
func (s *Session) Download(ctx context.Context, source *Object) io.Reader {
	d := &download{ctx: ctx, session: s, source: source}
	return &chunks{next: d.next}
}

type download struct {
	ctx         context.Context
	session     *Session
	source      *Object
	done        bool
	busy, empty int
}

// next returns the next octets of the stream. MS-OXCFXICS §3.3.5.7.1.
func (d *download) next() ([]byte, error) {
	for !d.done {
		var b Batch
		reply := On(&b, d.source, &FastTransferSourceGetBuffer{MaximumBufferSize: bufferMost})
		if err := d.session.Do(d.ctx, &b); err != nil {
			return nil, err
		}
		if reply.ReturnValue == ServerBusy {
			if err := d.wait(reply); err != nil {
				return nil, err
			}
			continue
		}
		if err := reply.Err(); err != nil {
			return nil, err
		}
		if reply.TransferStatus == TransferError || reply.TransferStatus > TransferDone {
			return nil, &Error{idFastTransferGetBuffer, GeneralError}
		}
		d.busy, d.done = 0, reply.TransferStatus == TransferDone
		if len(reply.TransferBuffer) > 0 {
			d.empty = 0
			return reply.TransferBuffer, nil
		}
		if d.empty++; d.empty > emptyMost {
			return nil, fmt.Errorf("%w: a stream that does not go on", ErrProtocol)
		}
	}
	return nil, io.EOF
}

// wait waits as long as a busy server asks for. What it has sent already is kept.
func (d *download) wait(reply *GetBufferReply) error {
	if d.busy++; d.busy > busyMost {
		return reply.Err()
	}
	wait := patience
	if reply.BackoffTime > 0 {
		wait = min(reply.BackoffTime, waitMost)
	}
	if !pause.For(d.ctx, wait) {
		return context.Cause(d.ctx)
	}
	return nil
}

// Stream reads the value of a property that [OpenStream] has opened, from where it is.
func (s *Session) Stream(ctx context.Context, stream *Object) io.Reader {
	return &chunks{next: func() ([]byte, error) {
		var b Batch
		reply := On(&b, stream, &ReadStream{MaximumByteCount: chainMost})
		if err := errors.Join(s.Do(ctx, &b), b.Err()); err != nil {
			return nil, err
		}
		if len(reply.Data) == 0 {
			return nil, io.EOF
		}
		return reply.Data, nil
	}}
}

// chunks reads what next returns, until it fails.
type chunks struct {
	next func() ([]byte, error)
	left []byte
	err  error
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.left) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.left, c.err = c.next()
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}
