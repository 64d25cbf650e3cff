package devices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/quota"
	"github.com/dipylon/dipylon/gateway/state"
)

// The errors of a change that its caller can mend.
var (
	// ErrChanged says that somebody else was faster.
	ErrChanged = errors.New("the device was changed by somebody else meanwhile")
	// ErrNeedsPassword says that the device cannot keep the password that it has, or has none.
	ErrNeedsPassword = errors.New("it needs another password")
)

// Set changes a device, which was read as before, to what it is to be; what it has sent today counts on under another name. Its password stays, too, unless
// another one is asked for, which is then in the caller's hands alone. An open session of the device goes by what is new from
// its next command on, and ends there where how the device logs in has changed.
//
// It fails with [ErrNotFound], [ErrExists], [ErrChanged] and [ErrNeedsPassword], and with what is wrong with the device, in words.
func (r *Registry) Set(ctx context.Context, before, after Device, newPassword bool) (made *Device, password string, err error) {
	after.Password, after.Created = before.Password, before.Created
	if err := after.Check(r.o.Now()); err != nil {
		return nil, "", err
	}
	moved := after.Store != before.Store || after.Account != before.Account
	if after.Proof == ByPassword && !newPassword && (before.Proof != ByPassword || moved) {
		return nil, "", ErrNeedsPassword
	}
	draft := after.entry()
	var own error // without words on passwords around it
	entry, password, err := r.o.Passwords.ChangeWith(ctx, *draft, newPassword && after.Proof == ByPassword, func(tx *state.Tx, p login.AppPassword) error {
		own = update(tx, &before, &after, p)
		return own
	})
	if err != nil {
		return nil, "", cmp.Or(own, err)
	}
	r.outdate()
	after.Password = entry.ID
	return &after, password, nil
}

// OfAccount is the device with the account that the store has by this id; empty: it is not known yet.
func (d Device) OfAccount(id string) Device {
	d.accountID = id
	return d
}

func update(tx *state.Tx, before, after *Device, p login.AppPassword) error {
	if err := passwords.DevicesChanged(tx); err != nil { // it has the row locked: others wait
		return err
	}
	var now *Device
	err := tx.Query(func(into func(...any) error) (err error) {
		now, err = scan(into)
		return err
	}, "SELECT "+columns+from+"WHERE d.name = $1", before.Name)
	switch {
	case err != nil:
		return err
	case now == nil:
		return fmt.Errorf("%w: %s", ErrNotFound, before.Name)
	case !now.isStill(before):
		return ErrChanged
	}
	if err := conflict(tx, after); err != nil {
		return err
	}
	text, err := after.settings()
	if err != nil {
		return err
	}
	if err := rename(tx, before.Name, after.Name); err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE devices SET password = $1, settings = $2 WHERE name = $3", p.ID, text, after.Name)
	return err
}

// rename gives a device another name, unless that is another one's.
func rename(tx *state.Tx, from, to string) error {
	if from == to {
		return nil
	}
	if taken, err := tx.One([]any{new(string)}, "SELECT name FROM devices WHERE name = $1", to); err != nil || taken {
		return cmp.Or(err, fmt.Errorf("%w: %s", ErrExists, to))
	}
	if _, err := tx.Exec("UPDATE devices SET name = $1 WHERE name = $2", to, from); err != nil {
		return err
	}
	for _, what := range []string{ofMessages, ofRecipients} {
		if err := quota.Rename(tx, dayOf(from, what), dayOf(to, what)); err != nil {
			return err
		}
	}
	_, err := tx.Exec("UPDATE app_passwords SET device = $1, label = $2 WHERE device = $3", to, labelOf(to), from)
	return err
}

// labelOf is the label of a device's password.
func labelOf(device string) string { return "device " + device }

// isStill says whether a device is what it was, whatever it has done since. Of whose account it is may have become known.
func (d Device) isStill(before *Device) bool {
	b := *before
	for _, one := range []*Device{&d, &b} {
		one.LastUsed, one.LastFrom, one.LastError, one.ErrorAt, one.accountID = time.Time{}, "", "", time.Time{}, ""
	}
	return reflect.DeepEqual(d, b)
}

// logsInAs says whether a device proves itself as another one does, for the same account.
func (d *Device) logsInAs(other *Device) bool {
	same := d.Certificate == nil && other.Certificate == nil || d.Certificate != nil && other.Certificate != nil && *d.Certificate == *other.Certificate
	return same && d.Password == other.Password && d.Proof == other.Proof && d.Store == other.Store && d.Account == other.Account && d.Legacy == other.Legacy &&
		slices.Equal(d.Protocols, other.Protocols) && slices.Equal(d.Networks, other.Networks)
}
