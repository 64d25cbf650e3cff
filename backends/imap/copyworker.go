package imap

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// copyTimeouts is for how many of the store's time-outs one copy may take, and copySlowest how many octets a second of it may come on at the
// least beside that: a server that takes a message more slowly hangs.
const (
	copyTimeouts = 10
	copySlowest  = 64 << 10
)

// copyMay is how long a copy of so many octets may take.
func copyMay(timeout time.Duration, size int64) time.Duration {
	return copyTimeouts*timeout + time.Duration(size/copySlowest)*time.Second
}

// copyNow begins to make the copies that can be made: for one mailbox, or, where that is nil, for as many as may be worked for.
func (s *Store) copyNow(b *copyBox) {
	c := s.copying
	for {
		taken, with := c.queue.take(b, time.Now())
		if taken == nil {
			return
		}
		if !c.beside(func() {
			s.copyFor(c.ctx, taken, with)
			s.copyNow(nil) // others may wait for their turn
		}) {
			c.queue.finish(taken)
			return
		}
		if b != nil {
			return
		}
	}
}

// copyFor makes copies for a mailbox, one after the other over one connection.
func (s *Store) copyFor(ctx context.Context, b *copyBox, with backends.Credential) {
	defer s.copying.queue.finish(b)
	l := lane{store: s, credential: with, mailbox: fold.Lower(b.mailbox)}
	defer l.release(true)
	for range copiesInARow {
		m := s.copying.queue.next(b)
		if m == nil || ctx.Err() != nil {
			return
		}
		s.copyOne(ctx, &l, m)
	}
}

// copyOne makes a copy that nobody else is making. One that fails is tried again.
func (s *Store) copyOne(ctx context.Context, l *lane, m *queued) {
	k := s.copying.folder.open(m.name)
	if k == nil { // the next look finds it, if it is still to be made
		s.copying.queue.leave(m.name)
		return
	}
	defer k.close()
	r, _ := k.read(m.name) // one that cannot be read says nothing
	if r == nil {
		r = &record{Mailbox: m.box.mailbox, Key: m.key}
	}
	if r.Copied.IsZero() {
		there, appending, err := l.copy(ctx, k, r)
		switch {
		case err != nil && ctx.Err() != nil: // it goes on where the work does
			return
		case err != nil:
			again := s.copying.queue.failed(m, err, appending && ofMessage(err))
			s.log.Warn().Err(err).Str("mailbox", r.Mailbox).Time("again", again).Msg("a message was sent, but no copy is in the Sent folder yet")
			return
		case there: // an earlier copy of it, the server's own, or another message with its Message-ID
			s.log.Info().Str("mailbox", r.Mailbox).Str("key", r.Key).Msg("the Sent folder has a message with the sent message's Message-ID: no copy is added")
		}
		if err := k.note(m.name, record{Copied: time.Now()}); err != nil {
			s.log.Warn().Err(err).Msg("a copy is in the Sent folder, and it cannot be noted")
		}
	}
	k.discard()
	s.copying.queue.done(m, r.outlasts())
}

// ofMessage says of an APPEND's failure that it is about the message, and no other's fails with it.
func ofMessage(err error) bool {
	switch backends.KindOf(err) {
	case backends.Permanent, backends.TooLarge, backends.Poison:
		return true
	}
	return false
}

// lane is a connection for copies of one mailbox.
type lane struct {
	store      *Store
	credential backends.Credential
	mailbox    string // folded
	conn       *connection
	sent       string // the Sent folder, once it is known
}

// release gives the connection back, if there is one, to be kept for some time.
func (l *lane) release(healthy bool) {
	if l.conn != nil {
		l.store.pool.release(l.conn, healthy)
	}
	l.conn = nil
}

// copy appends to the Sent folder what was sent, unless it is there: the server has filed it itself, or an earlier attempt did. appending
// says that it was the APPEND that failed.
func (l *lane) copy(ctx context.Context, k *lockedMessage, r *record) (there, appending bool, err error) {
	s := l.store
	ctx, cancel := context.WithTimeout(ctx, copyMay(time.Duration(s.settings.Timeout), k.size))
	defer cancel()
	defer func() {
		s.paces.answered(l.mailbox, err)
		if err != nil {
			l.release(isRefusal(err))
		}
	}()
	if err = s.paces.wait(ctx, l.mailbox); err != nil {
		return false, false, err
	}
	if l.conn == nil {
		if l.conn, err = s.acquire(ctx, l.credential); err != nil {
			return false, false, err
		}
	}
	field, value, before := identityOf(k, r)
	if there, err = l.look(ctx, field, value); err != nil || there {
		return there, false, err
	}
	content := io.MultiReader(strings.NewReader(before), k.reader())
	return false, true, s.append(ctx, l.conn, l.sent, content, int64(len(before))+k.size, []imap.Flag{imap.FlagSeen})
}

// identityOf says by which header field a copy is known again: its Message-ID, or else our key, which stands in front of it.
func identityOf(k *lockedMessage, r *record) (field, value, before string) {
	if id := messageID(k.reader()); id != "" {
		return "Message-ID", id, ""
	}
	if r.Key == "" { // its record is damaged
		return "", "", ""
	}
	return keyField, r.Key, keyField + ": " + r.Key + "\r\n"
}

// look finds the Sent folder, and whether it has a message already that is known by a header field.
func (l *lane) look(ctx context.Context, field, value string) (there bool, err error) {
	s, conn := l.store, l.conn
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	there, err = call(ctx, conn.client, func() (bool, error) {
		if l.sent == "" {
			name := s.settings.Sending.Sent
			if name == markedSent {
				name = ""
			}
			var err error
			if l.sent, err = conn.client.special("submission.sent", name, imap.MailboxAttrSent); err != nil {
				return false, err
			}
		}
		if value == "" {
			return false, nil
		}
		return has(conn, l.sent, field, value)
	})
	return there, failure("look into the Sent folder", err, backends.Temporary)
}

// markedSent is the setting for the folder that the server marks as such (RFC 6154).
const markedSent = `\Sent`
