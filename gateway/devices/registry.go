package devices

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/quota"
	"github.com/dipylon/dipylon/gateway/state"
)

// Registry has the devices of one installation. Its methods may be called from any goroutine.
type Registry struct {
	o     Options
	paces paces
	notes notes

	asking singleflight.Group    // of the database
	known  atomic.Pointer[known] // nil: it was not asked yet
	// look is read, but in tests: it gives the last table (nil: there is none) where it is still right, or else another one.
	look func(ctx context.Context, last *table) (*table, error)
}

// Options are what a Registry is made of. DB and Passwords are needed.
type Options struct {
	Log       zerolog.Logger
	DB        *state.DB
	Passwords *passwords.Kept
	// Counts has the messages and recipients of a day; nil: nobody counts them.
	Counts *quota.Counts
	Now    func() time.Time // time.Now
	// Observe is told what became of a device's message [nobody is].
	Observe func(device, outcome string)
}

// New gives the devices that are kept in a database.
func New(o Options) *Registry {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Registry{o: o}
	r.look = r.read
	return r
}

// The errors that callers tell apart.
var (
	ErrNotFound = errors.New("there is no such device")
	ErrExists   = errors.New("there is a device of this name already")
)

// columns of a device, in the order of scan.
const columns = `d.name, d.settings, d.last_error, d.last_error_at, p.id, p.store, p.account, p.owner, p.protocols, p.networks, p.created, p.expires,
	p.last_used, p.last_from, p.disabled, p.legacy`

const from = " FROM devices d JOIN app_passwords p ON p.id = d.password "

// settings are what the column of that name has, as JSON.
type settings struct {
	Place       string       `json:"place,omitempty"`
	Owner       string       `json:"owner,omitempty"`
	Proof       Proof        `json:"proof"`
	Certificate *Certificate `json:"certificate,omitempty"`
	Sending     Sending      `json:"sending,omitzero"`
}

func scan(into func(...any) error) (*Device, error) {
	d := &Device{}
	var text, protocols, networks string
	var failed, created, expires, used, disabled, legacy int64
	err := into(&d.Name, &text, &d.LastError, &failed, &d.Password, &d.Store, &d.Account, &d.accountID, &protocols, &networks, &created, &expires,
		&used, &d.LastFrom, &disabled, &legacy)
	if err != nil {
		return nil, err
	}
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("device %s: %w", d.Name, err)
	}
	d.Place, d.Owner, d.Proof, d.Certificate, d.Sending = s.Place, s.Owner, s.Proof, s.Certificate, s.Sending
	if d.Proof == ByCertificate && d.Certificate == nil {
		return nil, fmt.Errorf("device %s has no certificate", d.Name)
	}
	d.Protocols = strings.Fields(protocols)
	for _, text := range strings.Fields(networks) {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("device %s: %w", d.Name, err)
		}
		d.Networks = append(d.Networks, network)
	}
	d.Disabled, d.Legacy = disabled != 0, legacy != 0
	d.Created, d.Expires, d.LastUsed, d.ErrorAt = date(created), date(expires), date(used), date(failed)
	return d, nil
}

// date is a time that the database has; 0 is none.
func date(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// List gives all devices, by name.
func (r *Registry) List(ctx context.Context) (all []*Device, err error) {
	rows, err := r.o.DB.Query(ctx, "SELECT "+columns+from+"ORDER BY d.name")
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		d, err := scan(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("devices: %w", err)
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

// Get gives one device; otherwise: [ErrNotFound].
func (r *Registry) Get(ctx context.Context, name string) (*Device, error) {
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(d *Device) bool { return d.Name == name }); i >= 0 {
		return all[i], nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
}

// Add adds a device, of whose account the store has this id (empty: it is not known yet). When it returns, the device is on
// the disk; its password, if it has one, is in the caller's hands alone.
func (r *Registry) Add(ctx context.Context, d Device, accountID string) (made *Device, password string, err error) {
	if err := d.Check(r.o.Now()); err != nil {
		return nil, "", err
	}
	draft := d.entry()
	draft.Label, draft.Owner = labelOf(d.Name), accountID
	var own error // without words on passwords around it: the device may have none
	entry, password, err := r.o.Passwords.AddWith(ctx, *draft, func(tx *state.Tx, p login.AppPassword) error {
		own = insert(tx, &d, p)
		return own
	})
	if err != nil {
		return nil, "", cmp.Or(own, err)
	}
	r.outdate()
	d.Password, d.Created, d.accountID = entry.ID, entry.Created, accountID
	return &d, password, nil
}

func insert(tx *state.Tx, d *Device, p login.AppPassword) error {
	if err := passwords.DevicesChanged(tx); err != nil { // it has the row locked: others wait
		return err
	}
	if err := room(tx, d); err != nil {
		return err
	}
	if err := conflict(tx, d); err != nil {
		return err
	}
	text, err := d.settings()
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO devices (name, password, settings, last_error, last_error_at) VALUES ($1, $2, $3, '', 0)", d.Name, p.ID, text)
	return err
}

// settings are what the column of that name has of a device.
func (d *Device) settings() (string, error) {
	text, err := json.Marshal(settings{d.Place, d.Owner, d.Proof, d.Certificate, d.Sending})
	return string(text), err
}

// room says why a device cannot be added, whatever it is.
func room(tx *state.Tx, d *Device) error {
	if same, err := tx.One([]any{new(string)}, "SELECT name FROM devices WHERE name = $1", d.Name); err != nil || same {
		return cmp.Or(err, fmt.Errorf("%w: %s", ErrExists, d.Name))
	}
	var count int
	if _, err := tx.One([]any{&count}, "SELECT COUNT(*) FROM devices"); err != nil || count >= mostDevices {
		return cmp.Or(err, fmt.Errorf("there are %d devices, and can be no more", count))
	}
	return nil
}

// conflict says which other device this one would be taken for.
func conflict(tx *state.Tx, d *Device) error {
	switch d.Proof {
	case ByNetwork:
		for _, n := range d.Networks {
			other, found, err := first(tx, "p.hash = '' AND ' ' || p.networks || ' ' LIKE $1", "% "+n.String()+" %", func(other *Device) bool {
				return other.Proof == ByNetwork && other.Name != d.Name
			})
			if err != nil || found {
				return cmp.Or(err, fmt.Errorf("the device %s has the network %s already: give one of them a smaller network, which goes before a larger one, or a password", other, n))
			}
		}
	case ByCertificate:
		other, found, err := first(tx, "p.hash = '' AND d.settings LIKE $1", `%"certificate"%`, func(other *Device) bool {
			return other.Proof == ByCertificate && *other.Certificate == *d.Certificate && other.Name != d.Name
		})
		if err != nil || found {
			return cmp.Or(err, fmt.Errorf("the device %s has this certificate already", other))
		}
	case ByPassword:
	}
	return nil
}

// first is the name of a device for which a condition on its rows holds, and is it.
func first(tx *state.Tx, condition, argument string, is func(*Device) bool) (name string, found bool, err error) {
	err = tx.Query(func(into func(...any) error) error {
		d, err := scan(into)
		if err == nil && !found && is(d) {
			name, found = d.Name, true
		}
		return err
	}, "SELECT "+columns+from+"WHERE "+condition+" ORDER BY d.name", argument)
	return name, found, err
}

// SetDisabled switches a device off or on. An open session of one that is off ends at its next command, see [Registry.Settle].
func (r *Registry) SetDisabled(ctx context.Context, name string, disabled bool) error {
	var value int64
	if disabled {
		value = 1
	}
	return r.change(ctx, name, func(tx *state.Tx) (int64, error) {
		return tx.Exec("UPDATE app_passwords SET disabled = $1 WHERE device = $2", value, name)
	})
}

// Remove removes a device with its password. An open session of it ends at its next command, see [Registry.Settle].
func (r *Registry) Remove(ctx context.Context, name string) error {
	return r.change(ctx, name, func(tx *state.Tx) (int64, error) {
		if _, err := tx.Exec("DELETE FROM devices WHERE name = $1", name); err != nil {
			return 0, err
		}
		return tx.Exec("DELETE FROM app_passwords WHERE device = $1", name)
	})
}

func (r *Registry) change(ctx context.Context, name string, f func(*state.Tx) (int64, error)) error {
	if name == "" {
		return fmt.Errorf("%w: it has no name", ErrNotFound)
	}
	defer r.outdate()
	return r.o.DB.Write(ctx, func(tx *state.Tx) error {
		if err := passwords.DevicesChanged(tx); err != nil {
			return err
		}
		rows, err := f(tx)
		if err == nil && rows == 0 {
			err = fmt.Errorf("%w: %s", ErrNotFound, name)
		}
		return err
	})
}

// Of implements [login.Devices].
func (r *Registry) Of(ctx context.Context, at netip.Addr, certificates []*x509.Certificate) (*login.AppPassword, error) {
	t, err := r.now(ctx)
	if err != nil {
		return nil, err
	}
	if d := t.certified(certificates); d != nil {
		if err := t.valid(d, certificates, r.o.Now()); err != nil {
			r.Note(d.Name, Use{From: at.String(), Failed: err.Error()})
			return nil, err
		}
		return d.entry(), nil
	}
	if d := t.at(at); d != nil {
		return d.entry(), nil
	}
	return nil, nil
}

// Refused implements [login.Devices].
func (r *Registry) Refused(device, why string) { r.Note(device, Use{Failed: why}) }

// Certified implements [login.Devices].
func (r *Registry) Certified(certificates []*x509.Certificate) bool {
	if len(certificates) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), certifiedMost)
	defer cancel()
	t, err := r.now(ctx)
	if err != nil {
		t = r.last()
	}
	return t != nil && t.certified(certificates) != nil
}

// certifiedMost is how long an offer of mechanisms waits for the database.
const certifiedMost = time.Second
