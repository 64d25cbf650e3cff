package rop

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/dipylon/dipylon/backends/mapi"
)

// UploadMost is how many octets of a stream one request gives: what leaves room in a payload for what stands around them.
const UploadMost = PayloadMost - 64

// packedMost is how many payloads go in one extended buffer to a server that takes several: the requests of one Execute have no more
// than 256 KiB (MS-OXCRPC §3.1.4.2).
const packedMost = 7

// Upload gives a FastTransfer stream to an object that [FastTransferDestinationConfigure] has opened.
//
// Where the server takes packed requests ([Session.Packs]), several pieces go at once.
type Upload struct {
	ctx     context.Context //nolint:containedctx // an Upload lives as long as one call
	session *Session
	to      *Object
	pieces  [][]byte
}

// Upload begins to give a stream. to was opened, in an earlier batch.
func (s *Session) Upload(ctx context.Context, to *Object) *Upload {
	return &Upload{ctx: ctx, session: s, to: to}
}

// Put gives the next piece of the stream, which has at most [UploadMost] octets, and ends where a stream may be split
// (MS-OXCFXICS §2.2.4.1). The piece is kept until it is sent: at the latest by Flush.
func (u *Upload) Put(piece []byte) error {
	u.pieces = append(u.pieces, append([]byte(nil), piece...))
	if most := u.session.piecesMost(); len(u.pieces) < most {
		return nil
	}
	return u.Flush()
}

func (s *Session) piecesMost() int {
	if s.Packs {
		return packedMost
	}
	return 1
}

// Flush sends the pieces that were not sent yet. After an error nothing is known of the object, which was not saved: it is to be
// released, and made anew.
func (u *Upload) Flush() error {
	if len(u.pieces) == 0 {
		return nil
	}
	pieces := u.pieces
	u.pieces = nil
	return u.session.put(u.ctx, u.to, pieces)
}

// put sends pieces with one Execute. Of several payloads each has one request, and the server answers them as one
// (MS-OXCRPC §3.1.4.2.1.2.1).
func (s *Session) put(ctx context.Context, to *Object, pieces [][]byte) error {
	if !to.opened {
		return &Error{idFastTransferPutBuffer, NullObject}
	}
	var payloads [][]byte
	for _, piece := range pieces {
		r := &FastTransferDestinationPutBuffer{TransferData: piece}
		e := mapi.NewEncoder([]byte{0, 0}, mapi.Format{CodePage: codePage})
		writeRequest(e, to.logon, r)
		octets := e.Octets()
		binary.LittleEndian.PutUint16(octets, uint16(len(octets)))
		payloads = append(payloads, binary.LittleEndian.AppendUint32(octets, to.handle))
	}
	answers, err := s.exchange(ctx, payloads)
	if err != nil {
		return err
	}
	return s.readPuts(answers, pieces)
}

// exchange sends payloads as they are.
func (s *Session) exchange(ctx context.Context, payloads [][]byte) ([][]byte, error) {
	flags, most := s.flags(&packet{})
	requests, err := s.Framing.Append(nil, payloads...)
	if err != nil {
		return nil, err
	}
	octets, err := s.Transport.Execute(ctx, flags, requests, most)
	if err != nil {
		return nil, err
	}
	answers, err := Payloads(octets)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return answers, nil
}

// readPuts reads the replies to pieces: one for all, or one for each. A server that says nothing of having left some octets has taken
// all, as far as that can be seen: of several pieces the reply has no room for their size.
func (s *Session) readPuts(answers, pieces [][]byte) error {
	answered := 0
	for _, answer := range answers {
		out, err := readOutput(answer)
		if err != nil {
			return err
		}
		for d := out.replies; d.Left() > 0; answered++ {
			reply, err := s.readPut(d)
			if err != nil {
				return err
			}
			if reply == nil {
				answered--
			} else if err := reply.Err(); err != nil {
				return err
			} else if len(pieces) == 1 && int(reply.BufferUsedSize) != len(pieces[0]) {
				return fmt.Errorf("%w: %d of %d octets were taken", ErrProtocol, reply.BufferUsedSize, len(pieces[0]))
			}
		}
	}
	if answered == 0 {
		return fmt.Errorf("%w: %s was not answered", ErrProtocol, idFastTransferPutBuffer)
	}
	return nil
}

// readPut reads the next reply: nil if it is a notification.
func (s *Session) readPut(d *decoder) (*PutBufferReply, error) {
	switch id := ID(d.Uint8()); id {
	case idNotify, idPending:
		return nil, s.unasked(d, id)
	case idBackoff:
		return nil, d.backoff()
	case idFastTransferPutBuffer:
		d.Uint8() // InputHandleIndex
		reply := &PutBufferReply{}
		if err := readReply(d, id, reply); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		return reply, nil
	default:
		return nil, fmt.Errorf("%w: a reply to %s in the place of one to %s", ErrProtocol, id, idFastTransferPutBuffer)
	}
}
