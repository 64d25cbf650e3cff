package relay

import (
	"context"
	"net"
	"time"
)

// race opens connections to one host, by its addresses in their order: the first that comes about is used, and the
// others are given up. It is used by one goroutine at a time.
type race struct {
	r      *Relay
	all    []target
	won    int           // the one that is used; -1: none yet
	failed map[int]error // those to which none has come about
}

func newRace(r *Relay, all []target) *race {
	return &race{r: r, all: all, won: -1, failed: make(map[int]error)}
}

// attempt is what became of one connection.
type attempt struct {
	number int
	conn   net.Conn
	err    error
}

// dial is the client's Dial. Further connections go to the address that was used first.
func (a *race) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if a.won >= 0 {
		return a.r.Dial(ctx, a.all[a.won].network, a.all[a.won].dial)
	}
	ctx, cancel := context.WithCancel(ctx)
	results, begun, ended := make(chan attempt), 0, 0
	var used net.Conn
	begin := func() {
		number := begun
		begun++
		go func() {
			conn, err := a.r.Dial(ctx, a.all[number].network, a.all[number].dial)
			results <- attempt{number, conn, err}
		}()
	}
	var first error
	next := time.NewTimer(a.r.RaceDelay)
	defer next.Stop()
	begin()
	for ended < begun {
		select {
		case <-next.C:
			if used == nil && begun < len(a.all) {
				begin()
				next.Reset(a.r.RaceDelay)
			}
		case got := <-results:
			ended++
			switch {
			case got.err == nil && used == nil:
				used, a.won = got.conn, got.number
				cancel()
			case got.err == nil:
				_ = got.conn.Close() // another one was faster
			case used == nil:
				a.failed[got.number] = got.err
				if first == nil {
					first = got.err
				}
				if begun < len(a.all) && ctx.Err() == nil {
					begin()
					next.Reset(a.r.RaceDelay)
				}
			}
		}
	}
	cancel()
	if used == nil {
		return nil, first
	}
	return used, nil
}

// left are the addresses that are still to be tried, when the one that was used came to nothing.
func (a *race) left() (left []target) {
	for i, t := range a.all {
		if _, failed := a.failed[i]; !failed && i != a.won {
			left = append(left, t)
		}
	}
	return left
}
