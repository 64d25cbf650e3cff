package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

// session is a session context that is logged on to a mailbox, and has a folder of it open. All of it but turn belongs to
// whoever's turn it is.
type session struct {
	turn chan struct{} // has one value while nobody uses it
	dn   string        // of the mailbox
	// login is who has opened it.
	login login
	log   zerolog.Logger
	most  time.Duration // that the server may take to end the session context
	http  transport
	ops   *rop.Session

	guard      *guard // of the service account
	admin      bool   // the mailbox wants to be opened as by an administrator
	rights     uint8  // of the logon: rop.OwnerRight and so on
	generation int    // of http that the objects belong to
	logon      *rop.Object
	folders    []mapi.ObjectID // of the logon, by rop.FolderInbox and so on
	fid        mapi.ObjectID   // of the folder
	folder     *rop.Object     // nil: it is not open
	opened     *rop.OpenFolderReply
	replicas   replicas

	refused atomic.Pointer[backends.Failure] // of the password, which is not sent again: an account would be locked

	releasing sync.Mutex
	released  []handle // that the server is to forget with the next batch: anybody's, whose turn ever it is
}

// handle is an object of a session context.
type handle struct {
	object     *rop.Object
	generation int
}

// connect makes a session context, and logs on.
func (s *Store) connect(ctx context.Context, login login, who parties) (*session, error) {
	var h transport
	err := s.guarded(ctx, login, func() (err error) {
		h, err = s.openMailbox(ctx, login, who.user.dn)
		return err
	})
	if err != nil {
		return nil, err
	}
	c := &session{turn: make(chan struct{}, 1), dn: who.owner.dn, login: login, guard: s.guard, log: s.log, most: s.disconnectMost, http: h, ops: &rop.Session{Transport: h, Chain: true}}
	c.turn <- struct{}{}
	if err := c.do(ctx, func(context.Context) error { return nil }); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close ends the session context, after whatever is under way.
func (c *session) close() {
	if c.refused.Load() != nil {
		c.http.Close() // the server would want the password
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.most)
	defer cancel()
	_ = c.http.Disconnect(ctx) // it ends the connections whatever comes of it
}

// triesMost is how often something is asked for, if session contexts are lost meanwhile.
const triesMost = 3

// do does something when it is one's turn, in a session context that is there: anew, if that turns out to be lost. So what is done must
// be something that can be done again.
func (c *session) do(ctx context.Context, something func(context.Context) error) error {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return backends.Fail(backends.Temporary, "wait for the session: %w", context.Cause(ctx))
	}
	defer func() { c.turn <- struct{}{} }()
	for try := 1; ; try++ {
		if refused := c.refused.Load(); refused != nil {
			return refused
		}
		err := c.enter(ctx)
		if err == nil {
			err = something(ctx)
		}
		if cause := context.Cause(ctx); err != nil && cause != nil {
			return backends.Fail(backends.Temporary, "%w", cause)
		}
		if errors.Is(err, rop.NullObject) {
			c.logon = nil
		}
		if backends.KindOf(err) == backends.BadCredentials {
			c.refused.Store(backends.AsFailure(c.refusal(err)))
			return c.refused.Load()
		}
		if !lost(err) || try == triesMost {
			return failure(err)
		}
		c.log.Debug().Err(err).Int("try", try).Msg("the server has lost the session, which is made anew")
	}
}

// refusal is what a credential that was refused is told as.
func (c *session) refusal(err error) error {
	if c.login.service {
		return c.guard.note(failure(err))
	}
	return failure(err)
}

// enter makes a session context and logs on, where there is need of it.
func (c *session) enter(ctx context.Context) error {
	if err := c.http.Revive(ctx); err != nil {
		return err
	}
	generation := c.http.Generation()
	if c.logon != nil && c.generation == generation {
		return nil
	}
	c.logon, c.folder, c.opened = nil, nil, nil
	logon, reply, err := c.logOn(ctx)
	if errors.Is(err, rop.ProfileNotConfigured) && c.login.foreign() && !c.admin {
		c.admin = true // the store of another is opened with administrative access alone (MS-OXCSTOR §3.2.5.1.1)
		logon, reply, err = c.logOn(ctx)
	}
	if err != nil {
		return notOpen(c.login, failure(err))
	}
	if len(reply.FolderIDs) <= rop.FolderDeletedItems {
		return fmt.Errorf("%w: a logon with %d folders", rop.ErrProtocol, len(reply.FolderIDs))
	}
	c.logon, c.generation, c.folders, c.rights = logon, generation, reply.FolderIDs, reply.ResponseFlags
	c.ops.Packs = c.http.Packs()
	c.replicas.learn(reply.ReplID, reply.ReplGUID)
	return nil
}

// logOn sends RopLogon, MS-OXCSTOR §2.2.1.1.1. Two of the flags are ignored by servers of today.
func (c *session) logOn(ctx context.Context) (*rop.Object, *rop.LogonReply, error) {
	flags := rop.OpenPerMDBReplicas | rop.OpenTakeOwnership
	if !c.login.foreign() {
		flags |= rop.OpenHomeLogon
	}
	if c.admin {
		flags |= rop.OpenUseAdmin
	}
	var b rop.Batch
	logon, reply := rop.Enter(&b, 0, &rop.Logon{LogonFlags: rop.LogonPrivate, OpenFlags: flags, Essdn: c.dn})
	return logon, reply, errors.Join(c.ops.Do(ctx, &b), b.Err())
}

// forget adds to a batch that the server is to forget what was released.
func (c *session) forget(b *rop.Batch) {
	c.releasing.Lock()
	defer c.releasing.Unlock()
	for _, h := range c.released {
		if h.generation == c.generation {
			rop.Release(b, h.object)
		}
	}
	c.released = nil
}

// begin begins a batch that needs the folder.
func (c *session) begin(b *rop.Batch) *rop.Object {
	c.forget(b)
	if c.folder == nil {
		c.folder, c.opened = rop.Open(b, c.logon, &rop.OpenFolder{FolderID: c.fid})
	}
	return c.folder
}

// run sends a batch that begin has begun. What its operations were answered with is in their replies.
func (c *session) run(ctx context.Context, b *rop.Batch) error {
	err := c.ops.Do(ctx, b)
	if c.opened == nil {
		return err
	}
	if err = errors.Join(err, c.opened.Err()); err != nil {
		c.folder = nil
	}
	c.opened = nil
	return err
}

// release has the server forget objects of a session context.
func (c *session) release(generation int, all ...*rop.Object) {
	c.releasing.Lock()
	defer c.releasing.Unlock()
	for _, o := range all {
		c.released = append(c.released, handle{o, generation})
	}
}
