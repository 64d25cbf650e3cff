package manage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/status"
)

// ErrSilent says that a gateway runs, and does not answer.
var ErrSilent = errors.New("the gateway that uses the state folder does not answer: it starts or stops, or its log says why; try again")

// OpenQueue opens the mail in transit of a configuration: the running gateway's, or where none runs the
// database. With SQLite, for changes, no gateway starts until close is called.
func OpenQueue(ctx context.Context, cfg *config.Config, changes bool) (q queue.Queue, closing func() error, err error) {
	client := queue.NewClient(admin.DialSocket(server.SocketFile(cfg)))
	err = client.Ping(ctx)
	switch {
	case err == nil:
		return client, client.Close, nil
	case !nobodyThere(err):
		return nil, nil, server.Temporary(errors.Join(err, client.Close()))
	}
	if err := client.Close(); err != nil {
		return nil, nil, err
	}
	return openDatabase(ctx, cfg, changes)
}

// nobodyThere says that no process has the socket, so far as can be seen.
func nobodyThere(err error) bool {
	var failed *net.OpError
	return errors.As(err, &failed) && failed.Op == "dial" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EINVAL))
}

// openDatabase opens the mail in transit without a gateway.
func openDatabase(ctx context.Context, cfg *config.Config, changes bool) (q queue.Queue, closing func() error, err error) {
	ways, err := server.WaysOf(cfg)
	if err != nil {
		return nil, nil, err
	}
	options := server.StateOptions(zerolog.Nop(), cfg)
	// A gateway beside would not see changes in its file.
	alone := changes && options.URL == ""
	var lock *server.StateLock
	if alone {
		if lock, err = lockFolder(cfg.StateFolder); err != nil {
			return nil, nil, err
		}
	}
	options.Alone = alone
	db, err := state.Open(ctx, options)
	if err != nil {
		lock.Release()
		return nil, nil, server.Temporary(err)
	}
	var s *spool.Spool
	if o := server.SpoolOptions(zerolog.Nop(), cfg, db); alone {
		s, err = spool.Open(ctx, o) // what a gateway that died had in flight is not any more
	} else {
		s, err = spool.Attach(o)
	}
	if err != nil {
		err = errors.Join(err, db.Close())
		lock.Release()
		return nil, nil, server.Temporary(err)
	}
	log, end := server.TrackedLog(cfg, db)
	closing = func() error {
		defer lock.Release()
		end()
		return errors.Join(s.Close(), db.Close())
	}
	return &queue.Spool{Spool: s, Ways: ways, Log: log, Waits: server.WhyWaiting(cfg, ways.Routes(), db, s)}, closing, nil
}

func lockFolder(folder string) (*server.StateLock, error) {
	if err := state.MakeFolder(folder); err != nil {
		return nil, fmt.Errorf("the state folder: %w", err)
	}
	lock, err := server.LockState(folder)
	if err != nil {
		if _, other := errors.AsType[*os.PathError](err); other {
			return nil, err
		}
		return nil, server.Temporary(ErrSilent)
	}
	return lock, nil
}

// RouteOf says where mail to an address goes, and why, by a configuration. From is the reverse-path; empty:
// the null one.
func RouteOf(cfg *config.Config, from, to string) (e route.Explanation, box address.Mailbox, err error) {
	if box, err = address.Parse(to); err != nil {
		return e, box, &ArgumentError{"the address", err}
	}
	if from != "" {
		if _, err := address.Parse(from); err != nil {
			return e, box, &ArgumentError{"from", err}
		}
	}
	ways, err := server.WaysOf(cfg)
	if err != nil {
		return e, box, err
	}
	return ways.Explain(from, box), box, nil
}

// MaySendTo says whether the policy of a store's mailbox lets it send to an address. Who is in no store has no policy.
func MaySendTo(cfg *config.Config, from string, to address.Mailbox) bool {
	sender, err := address.Parse(from)
	if err != nil {
		return true
	}
	store, err := StoreOf(cfg, sender.String())
	return err != nil || policy.NewTable(cfg).Of(store.Name, backends.Account{Address: sender.String()}).Elsewhere.Has(to.Domain)
}

// StatusOf asks the gateway that runs by a configuration what it says of itself.
func StatusOf(ctx context.Context, cfg *config.Config) (s status.Status, err error) {
	client := admin.DialSocket(server.SocketFile(cfg))
	s, err = status.Ask(ctx, client)
	err = errors.Join(err, client.Close())
	if err != nil && nobodyThere(err) {
		return s, ErrNotRunning
	}
	return s, err
}

// ErrNotRunning says that there is no gateway to be asked.
var ErrNotRunning = errors.New("no gateway runs by this configuration: dipylon serve starts one")
