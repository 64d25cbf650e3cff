package kerberos

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// replyMost is how many octets a KDC's reply may have: a ticket with the groups of Windows has at most some ten thousand.
const replyMost = 256 << 10

// awayFor is how long the KDCs of a realm are left alone after none was to be reached.
const awayFor = 30 * time.Second

// send sends a request to a KDC of a realm by TCP (RFC 4120 §7.2.2), and returns the reply. A request that is to be sent once goes
// to no other KDC after it was sent to one.
func (k *Kerberos) send(ctx context.Context, realm string, request []byte, once bool) ([]byte, error) {
	if k.isAway(realm) {
		return nil, without("no KDC of %s was to be reached a moment ago", realm)
	}
	addresses, err := k.kdcs(ctx, realm)
	if err != nil {
		return nil, without("%w", err)
	}
	failed := []error{fmt.Errorf("no KDC of %s answers", realm)}
	reached := false
	for _, address := range addresses {
		reply, sent, err := k.exchange(ctx, address, request)
		if err == nil {
			return reply, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", address, err))
		if reached = reached || sent; sent && once || ctx.Err() != nil {
			break
		}
	}
	if !reached && ctx.Err() == nil {
		k.setAway(realm)
	}
	return nil, without("%w", errors.Join(failed...))
}

// exchange sends a request to one KDC. sent says that it may have got there.
func (k *Kerberos) exchange(ctx context.Context, address string, request []byte) (reply []byte, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
		return nil, true, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, true, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n == 0 || n > replyMost {
		return nil, true, fmt.Errorf("a reply of %d octets", n)
	}
	reply = make([]byte, n)
	_, err = io.ReadFull(conn, reply)
	return reply, true, err
}

func (k *Kerberos) isAway(realm string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Now().Before(k.away[realm])
}

func (k *Kerberos) setAway(realm string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.away) >= 100 {
		clear(k.away)
	}
	k.away[realm] = time.Now().Add(awayFor)
}
