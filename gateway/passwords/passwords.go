// Package passwords keeps the gateway's application passwords in its state. It implements
// [login.Passwords], and has what the command line does with them:
//
//	kept := passwords.New(db)
//	made, text, err := kept.Add(ctx, login.AppPassword{Store: "sakes", Account: "alice@sakes.example", Label: "phone"})
//	all, err := kept.List(ctx, "sakes", "alice@sakes.example")
//	found, err := kept.Revoke(ctx, made.ID)
//
// Nothing is kept in memory but what never changes: what is added or revoked, by this process or
// another one, counts from the next login on.
package passwords

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/state"
)

// Kept are the application passwords of one installation. Its methods may be called from any
// goroutine.
type Kept struct {
	db  *state.DB
	now func() time.Time

	mu      sync.Mutex
	saltKey []byte
}

// New gives the passwords that are kept in a database.
func New(db *state.DB) *Kept { return &Kept{db: db, now: time.Now} }

// columns in the order of scan.
const columns = "id, store, account, label, hash, stored_key, server_key, protocols, networks, created, expires, owner, device, disabled, legacy, last_used, last_from"

// Find gives the passwords of an account.
func (k *Kept) Find(ctx context.Context, store, account string) ([]login.AppPassword, error) {
	return k.query(ctx, "SELECT "+columns+" FROM app_passwords WHERE store = $1 AND account = $2 AND hash <> '' ORDER BY created, id", store, account)
}

// Keys implements [login.Passwords].
func (k *Kept) Keys(ctx context.Context, store, account string) (all []login.ScramKeys, err error) {
	rows, err := k.db.Query(ctx, "SELECT id, stored_key, server_key FROM app_passwords WHERE store = $1 AND account = $2 AND hash <> ''", store, account)
	if err != nil {
		return nil, fmt.Errorf("application passwords: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var of login.ScramKeys
		if err := rows.Scan(&of.ID, &of.StoredKey, &of.ServerKey); err != nil {
			return nil, fmt.Errorf("application passwords: %w", err)
		}
		all = append(all, of)
	}
	return all, rows.Err()
}

// FindOne implements [login.Passwords].
func (k *Kept) FindOne(ctx context.Context, store, account, id string) (*login.AppPassword, error) {
	found, err := k.query(ctx, "SELECT "+columns+" FROM app_passwords WHERE id = $1 AND store = $2 AND account = $3 AND hash <> ''", id, store, account)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// List gives all passwords, or those of a store, or of one account of it.
func (k *Kept) List(ctx context.Context, store, account string) ([]login.AppPassword, error) {
	switch {
	case account != "":
		return k.Find(ctx, store, account)
	case store != "":
		return k.query(ctx, "SELECT "+columns+" FROM app_passwords WHERE store = $1 AND hash <> '' ORDER BY account, created, id", store)
	}
	return k.query(ctx, "SELECT "+columns+" FROM app_passwords WHERE hash <> '' ORDER BY store, account, created, id")
}

// endingMost bounds what Ending gives.
const endingMost = 10_000

// Ending gives the passwords that end within a time, what ends first in front, without those of devices.
func (k *Kept) Ending(ctx context.Context, after, before time.Time) ([]login.AppPassword, error) {
	return k.query(ctx, "SELECT "+columns+" FROM app_passwords WHERE expires > $1 AND expires < $2 AND device = '' ORDER BY expires, id LIMIT $3",
		max(seconds(after), 0), seconds(before), endingMost)
}

func (k *Kept) query(ctx context.Context, query string, args ...any) (all []login.AppPassword, err error) {
	rows, err := k.db.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("application passwords: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		p, err := scan(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("application passwords: %w", err)
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

func scan(into func(...any) error) (p login.AppPassword, err error) {
	var protocols, networks string
	var created, expires, used, disabled, legacy int64
	err = into(&p.ID, &p.Store, &p.Account, &p.Label, &p.Hash, &p.StoredKey, &p.ServerKey, &protocols, &networks, &created, &expires, &p.Owner,
		&p.Device, &disabled, &legacy, &used, &p.LastFrom)
	if err != nil {
		return p, err
	}
	p.Wordless, p.Disabled, p.Legacy = p.Hash == "", disabled != 0, legacy != 0
	p.Protocols = strings.Fields(protocols)
	for _, text := range strings.Fields(networks) {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return p, fmt.Errorf("password %s: %w", p.ID, err)
		}
		p.Networks = append(p.Networks, network)
	}
	p.Created, p.Expires, p.LastUsed = date(created), date(expires), date(used)
	return p, nil
}

// date is a time that the database has; 0 is none.
func date(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func number(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// idsTried is how often another password is made where the id is taken: there are 2^25 ids.
const idsTried = 5

var errTaken = errors.New("the id is taken")

// Add makes a password by a draft, see [login.NewAppPassword]. When it returns, the password is
// on the disk; its text is in the caller's hands alone.
func (k *Kept) Add(ctx context.Context, draft login.AppPassword) (made login.AppPassword, text string, err error) {
	return k.AddWith(ctx, draft, func(*state.Tx, login.AppPassword) error { return nil })
}

// AddWith is Add with something else in the same transaction. What that fails with is the error.
func (k *Kept) AddWith(ctx context.Context, draft login.AppPassword, with func(*state.Tx, login.AppPassword) error) (made login.AppPassword, text string, err error) {
	key, err := k.SaltKey(ctx)
	if err != nil {
		return made, "", err
	}
	draft.Created = k.now().UTC().Truncate(time.Second)
	for range idsTried {
		if made, text, err = login.NewAppPassword(key, draft); err != nil {
			return made, "", err
		}
		if err = k.insert(ctx, made, with); !errors.Is(err, errTaken) {
			break
		}
	}
	if err != nil {
		return made, "", fmt.Errorf("adding an application password: %w", err)
	}
	return made, text, nil
}

// ChangeWith changes the password that has the draft's id, with something else in the same transaction, before it. Its text stays unless
// another one is asked for (fresh), and with that another id; a draft that is Wordless has none. A draft whose text stays is of
// the same account: SCRAM's salt is the account's.
func (k *Kept) ChangeWith(ctx context.Context, draft login.AppPassword, fresh bool, with func(*state.Tx, login.AppPassword) error) (made login.AppPassword, text string, err error) {
	key, err := k.SaltKey(ctx)
	if err != nil {
		return made, "", err
	}
	for range idsTried {
		if made = draft; draft.Wordless {
			made.Hash, made.StoredKey, made.ServerKey = "", []byte{}, []byte{}
		}
		if fresh {
			if made, text, err = login.NewAppPassword(key, draft); err != nil {
				return made, "", err
			}
		}
		if err = k.change(ctx, draft.ID, made, fresh, with); !errors.Is(err, errTaken) {
			break
		}
	}
	if err != nil {
		return made, "", fmt.Errorf("changing an application password: %w", err)
	}
	return made, text, nil
}

func (k *Kept) change(ctx context.Context, id string, p login.AppPassword, fresh bool, with func(*state.Tx, login.AppPassword) error) error {
	return k.db.Write(ctx, func(tx *state.Tx) error {
		if err := with(tx, p); err != nil {
			return err
		}
		if fresh {
			if taken, err := tx.One([]any{new(string)}, "SELECT id FROM app_passwords WHERE id = $1", p.ID); err != nil || taken {
				return cmp.Or(err, errTaken)
			}
		}
		if fresh || p.Wordless {
			_, err := tx.Exec("UPDATE app_passwords SET id = $1, hash = $2, stored_key = $3, server_key = $4 WHERE id = $5",
				p.ID, p.Hash, p.StoredKey, p.ServerKey, id)
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec("UPDATE app_passwords SET store = $1, account = $2, owner = $3, protocols = $4, networks = $5, expires = $6, legacy = $7 WHERE id = $8",
			p.Store, p.Account, p.Owner, strings.Join(p.Protocols, " "), networksOf(p), seconds(p.Expires), number(p.Legacy), p.ID)
		return err
	})
}

// networksOf are the networks of a password as the database has them.
func networksOf(p login.AppPassword) string {
	var all []string
	for _, n := range p.Networks {
		all = append(all, n.String())
	}
	return strings.Join(all, " ")
}

func (k *Kept) insert(ctx context.Context, p login.AppPassword, with func(*state.Tx, login.AppPassword) error) error {
	return k.db.Write(ctx, func(tx *state.Tx) error {
		rows, err := tx.Exec("INSERT INTO app_passwords ("+columns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, '') ON CONFLICT DO NOTHING",
			p.ID, p.Store, p.Account, p.Label, p.Hash, p.StoredKey, p.ServerKey,
			strings.Join(p.Protocols, " "), networksOf(p), seconds(p.Created), seconds(p.Expires), p.Owner, p.Device, number(p.Disabled), number(p.Legacy))
		switch {
		case err != nil:
			return err
		case rows == 0:
			return errTaken
		}
		return with(tx, p)
	})
}

// Revoke removes a password for good, and says whether there was one. That of a device goes with the device: it is not
// found here.
func (k *Kept) Revoke(ctx context.Context, id string) (found bool, err error) {
	err = k.db.Write(ctx, func(tx *state.Tx) error {
		rows, err := tx.Exec("DELETE FROM app_passwords WHERE id = $1 AND device = ''", id)
		found = rows > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("revoking an application password: %w", err)
	}
	return found, nil
}

// usedEvery is how old a note of a password's use may become while it is used from one address:
// a client that polls each second is no reason to write each second.
const usedEvery = time.Minute

// Used implements [login.Passwords].
func (k *Kept) Used(ctx context.Context, p login.AppPassword, at time.Time, from string) error {
	if from == p.LastFrom && at.Sub(p.LastUsed) < usedEvery {
		return nil
	}
	return k.db.Write(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec("UPDATE app_passwords SET last_used = $1, last_from = $2, owner = $3 WHERE id = $4", seconds(at), from, p.Owner, p.ID)
		if err == nil && p.Wordless { // whose it is, is known now
			err = DevicesChanged(tx)
		}
		return err
	})
}

// DevicesChanged says to every process, with the transaction, that devices are not what they were.
func DevicesChanged(tx *state.Tx) error {
	_, err := tx.Exec("INSERT INTO device_changes (one, version) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET version = device_changes.version + 1")
	return err
}

// saltKeyName is the row of the key that SCRAM's salts are made of.
const saltKeyName = "scram-salt"

// SaltKey implements [login.Passwords].
func (k *Kept) SaltKey(ctx context.Context) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.saltKey != nil {
		return k.saltKey, nil
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails, crypto/rand says
	var key []byte
	err := k.db.Write(ctx, func(tx *state.Tx) error {
		if _, err := tx.Exec("INSERT INTO installation_keys (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING", saltKeyName, fresh); err != nil {
			return err
		}
		_, err := tx.One([]any{&key}, "SELECT value FROM installation_keys WHERE name = $1", saltKeyName)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the key of SCRAM's salts: %w", err)
	}
	k.saltKey = key
	return key, nil
}
