// Package vault keeps in the gateway's state what stores, routes and accounts that are collected have to share among all
// gateways on it: package backends/vault is what they see of it.
//
//	v := vault.New(db)
//	part := v.Of("store sakes") // one's own names
//	entry, err := part.Get(ctx, "login")
//
// Times are the database's: a gateway whose clock is wrong takes no lease from another one, and knows how old an entry is. With
// SQLite there is one machine, and its clock.
package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/vault"
	"github.com/dipylon/dipylon/gateway/state"
)

// Store is the owner of what a store keeps.
func Store(name string) string { return "store " + name }

// Route is that of a route.
func Route(name string) string { return "route " + name }

// Collect is that of an account that is collected.
func Collect(name string) string { return "collect " + name }

// Vault is that of a state.
type Vault struct{ db *state.DB }

// New gives the vault of a database.
func New(db *state.DB) *Vault { return &Vault{db} }

// Part is what one owner sees of it. It implements [vault.Vault]; an error is a [*backends.Failure].
type Part struct {
	db    *state.DB
	owner string
}

var (
	_ vault.Vault     = (*Part)(nil)
	_ vault.Abandoner = (*Part)(nil)
	_ vault.Extender  = (*Part)(nil)
)

// Of gives an owner's part.
func (v *Vault) Of(owner string) *Part { return &Part{v.db, owner} }

// answerMost is how long the database has to answer.
const answerMost = 10 * time.Second

// now is the time of the state.
func now(db *state.DB, tx *state.Tx) (micros int64, err error) {
	if !db.Shared() {
		return time.Now().UnixMicro(), nil
	}
	_, err = tx.One([]any{&micros}, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
	return micros, err
}

// row is an entry as the table has it.
type row struct {
	value            []byte
	version, changed int64
	expires, until   int64
	holder           string
	now              int64 // when it was read
	there            bool
}

// read reads an entry. With lock others wait with theirs until the transaction ends: SQLite has one writer anyway.
func (p *Part) read(tx *state.Tx, name string, lock bool) (r row, err error) {
	query := "SELECT value, version, changed, expires, holder, until FROM vault WHERE owner = $1 AND name = $2"
	if lock && p.db.Shared() {
		query += " FOR UPDATE"
	}
	r.there, err = tx.One([]any{&r.value, &r.version, &r.changed, &r.expires, &r.holder, &r.until}, query, p.owner, name)
	if err != nil {
		return r, err
	}
	r.now, err = now(p.db, tx) // behind the lock, which may have been waited for
	return r, err
}

func (r row) entry() vault.Entry {
	if len(r.value) == 0 || r.expires != 0 && r.expires <= r.now {
		return vault.Entry{Version: r.version}
	}
	return vault.Entry{Value: r.value, Version: r.version, Age: time.Duration(r.now-r.changed) * time.Microsecond}
}

// write changes entries. Its failures say what was tried.
func (p *Part) write(ctx context.Context, f func(*state.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	return p.failed(p.db.Write(ctx, f))
}

func (p *Part) failed(err error) error {
	if err == nil {
		return nil
	}
	if known, is := errors.AsType[*backends.Failure](err); is {
		return known
	}
	return backends.Fail(backends.Temporary, "the vault of the %s: %w", p.owner, err)
}

// wrong is the failure of what is beyond the bounds.
func (p *Part) wrong(err error) error {
	return backends.Fail(backends.Permanent, "the vault of the %s: %w", p.owner, err)
}

// Get implements [vault.Vault].
func (p *Part) Get(ctx context.Context, name string) (vault.Entry, error) {
	if err := vault.CheckName(name); err != nil {
		return vault.Entry{}, p.wrong(err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	var r row
	err := p.db.Read(ctx, func(tx *state.Tx) (err error) {
		r, err = p.read(tx, name, false)
		return err
	})
	return r.entry(), p.failed(err)
}

// Lease implements [vault.Vault].
func (p *Part) Lease(ctx context.Context, name string, life time.Duration) (l vault.Lease, err error) {
	if err := vault.CheckName(name); err != nil {
		return l, p.wrong(err)
	}
	if err := vault.CheckLife(life); err != nil {
		return l, p.wrong(err)
	}
	err = p.write(ctx, func(tx *state.Tx) error {
		l = vault.Lease{}
		if err := p.room(tx, name); err != nil {
			return err
		}
		r, err := p.read(tx, name, true)
		if err != nil {
			return err
		}
		l.Entry = r.entry()
		if r.holder != "" && r.now < r.until {
			return nil
		}
		l.ID, l.Abandoned = rand.Text(), r.holder != ""
		_, err = tx.Exec("UPDATE vault SET holder = $3, until = $4 WHERE owner = $1 AND name = $2", p.owner, name, l.ID, r.now+life.Microseconds())
		return err
	})
	if err != nil {
		return vault.Lease{}, err
	}
	return l, nil
}

// leaseKept is how long the row of a lease stays to which nothing was put.
const leaseKept = time.Hour

// room sees to it that there is a row for a name, unless the owner has too many.
func (p *Part) room(tx *state.Tx, name string) error {
	found, err := tx.One([]any{new(int64)}, "SELECT 1 FROM vault WHERE owner = $1 AND name = $2", p.owner, name)
	if err != nil || found {
		return err
	}
	err = p.within(tx, vault.EntriesMost-1, "SELECT count(*) FROM vault WHERE owner = $1", "entries", name)
	if err != nil {
		return err
	}
	at, err := now(p.db, tx)
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO vault (owner, name, value, version, changed, expires, holder, until) VALUES ($1, $2, $3, 0, $4, $5, '', 0) ON CONFLICT (owner, name) DO NOTHING",
		p.owner, name, []byte{}, at, at+leaseKept.Microseconds())
	return err
}

// fits says whether the owner has room for so many octets in the place of an entry's value. Those who put at the same time may
// each take what is left: that is bounded by how many there are at once.
func (p *Part) fits(tx *state.Tx, name string, before, octets int) error {
	if octets <= before {
		return nil
	}
	return p.within(tx, int64(vault.Room(before)-octets+before), "SELECT coalesce(sum(length(value)), 0) FROM vault WHERE owner = $1", "octets", name)
}

// within says whether what a query counts of the owner's is no more than there may be. Where it is more, what has expired goes first,
// but for the entry that is to be changed.
func (p *Part) within(tx *state.Tx, most int64, query, what, name string) error {
	for try := 0; ; try++ {
		var all int64
		if _, err := tx.One([]any{&all}, query, p.owner); err != nil || all <= most {
			return err
		}
		if try > 0 {
			return backends.Fail(backends.OverQuota, "the vault of the %s has %d %s, and no room for more", p.owner, all, what)
		}
		at, err := now(p.db, tx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("DELETE FROM vault WHERE owner = $1 AND name <> $2 AND expires <> 0 AND expires < $3 AND until < $3", p.owner, name, at); err != nil {
			return err
		}
	}
}

// Put implements [vault.Vault].
func (p *Part) Put(ctx context.Context, name string, c vault.Change) (stored bool, err error) {
	if err := vault.CheckName(name); err != nil {
		return false, p.wrong(err)
	}
	if err := c.Check(); err != nil {
		return false, p.wrong(err)
	}
	err = p.write(ctx, func(tx *state.Tx) error {
		stored = false
		if err := p.room(tx, name); err != nil {
			return err
		}
		r, err := p.read(tx, name, true)
		if err != nil || r.version != c.Version {
			return err
		}
		if err := p.fits(tx, name, len(r.value), len(c.Value)); err != nil {
			return err
		}
		expires := int64(0)
		if c.Keep > 0 {
			expires = r.now + c.Keep.Microseconds()
		}
		holder := r.holder
		if c.Lease != "" && c.Lease == holder {
			holder = ""
		}
		// The first version of a row is the time: a row that has expired and was made anew has none that it had before.
		_, err = tx.Exec("UPDATE vault SET value = $3, version = $4, changed = $5, expires = $6, holder = $7 WHERE owner = $1 AND name = $2",
			p.owner, name, c.Value, max(r.version+1, r.now), r.now, expires, holder)
		stored = err == nil
		return err
	})
	return stored && err == nil, err
}

// Release implements [vault.Vault].
func (p *Part) Release(ctx context.Context, name, lease string) error {
	return p.endLease(ctx, "UPDATE vault SET holder = '' WHERE owner = $1 AND name = $2 AND holder = $3 AND holder <> ''", name, lease)
}

// Abandon implements [vault.Abandoner]. The holder stays, by which the next one sees that there was one.
func (p *Part) Abandon(ctx context.Context, name, lease string) error {
	return p.endLease(ctx, "UPDATE vault SET until = 0 WHERE owner = $1 AND name = $2 AND holder = $3 AND holder <> ''", name, lease)
}

func (p *Part) endLease(ctx context.Context, query, name, lease string) error {
	if err := vault.CheckName(name); err != nil {
		return p.wrong(err)
	}
	return p.write(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec(query, p.owner, name, lease)
		return err
	})
}

// Extend implements [vault.Extender].
func (p *Part) Extend(ctx context.Context, name, lease string, life time.Duration) (held bool, err error) {
	if err := errors.Join(vault.CheckName(name), vault.CheckLife(life)); err != nil {
		return false, p.wrong(err)
	}
	err = p.write(ctx, func(tx *state.Tx) error {
		at, err := now(p.db, tx)
		if err != nil {
			return err
		}
		rows, err := tx.Exec("UPDATE vault SET until = $4 WHERE owner = $1 AND name = $2 AND holder = $3 AND holder <> ''", p.owner, name, lease, at+life.Microseconds())
		held = rows > 0
		return err
	})
	return held && err == nil, err
}

// keepersMost bounds who is told of that keeps something.
const keepersMost = 1000

// Keepers are the owners of entries that stay until somebody removes them: logins. Access tokens go by themselves.
func (v *Vault) Keepers(ctx context.Context) (owners []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	err = v.db.Read(ctx, func(tx *state.Tx) error {
		owners = nil
		return tx.Query(func(scan func(into ...any) error) error {
			var owner string
			err := scan(&owner)
			owners = append(owners, owner)
			return err
		}, "SELECT DISTINCT owner FROM vault WHERE expires = 0 ORDER BY owner LIMIT $1", keepersMost)
	})
	return owners, err
}

// Keeps says whether an owner is one of the keepers, however many there are.
func (v *Vault) Keeps(ctx context.Context, owner string) (is bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	err = v.db.Read(ctx, func(tx *state.Tx) (err error) {
		is, err = tx.One([]any{new(int64)}, "SELECT 1 FROM vault WHERE owner = $1 AND expires = 0 LIMIT 1", owner)
		return err
	})
	return is, err
}

// Forget removes all that an owner has. What is put by who has read it before is not stored any more.
func (v *Vault) Forget(ctx context.Context, owner string) (entries int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	err = v.db.Write(ctx, func(tx *state.Tx) (err error) {
		entries, err = tx.Exec("DELETE FROM vault WHERE owner = $1", owner)
		return err
	})
	return entries, err
}

// Tasks are what it has to be cleaned of: entries that are worth nothing any more.
func (v *Vault) Tasks() []state.Task {
	return []state.Task{{Name: "vault", Do: func(ctx context.Context, most int) (rows int64, err error) {
		err = v.db.Write(ctx, func(tx *state.Tx) error {
			at, err := now(v.db, tx)
			if err != nil {
				return err
			}
			rows, err = tx.Exec("DELETE FROM vault WHERE (owner, name) IN (SELECT owner, name FROM vault WHERE expires <> 0 AND expires < $1 AND until < $1 ORDER BY expires LIMIT $2)", at, most)
			return err
		})
		return rows, err
	}}}
}
