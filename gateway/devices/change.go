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
	"github.com/dipylon/dipylon/gateway/state"
)

// The errors of a change that its caller can mend.
var (
	// ErrChanged says that somebody else was faster.
	ErrChanged = errors.New("the device was changed by somebody else meanwhile")
	// ErrNeedsPassword says that the device cannot keep the password that it has, or has none.
	ErrNeedsPassword = errors.New("it needs another password")
)

// Set changes a device, which was read as before, to what it is to be; its name stays. Its password stays, too, unless
// another one is asked for, which is then in the caller's hands alone. An open session of the device goes by what is new from
// its next command on, and ends there where how the device logs in has changed.
//
// It fails with [ErrNotFound], [ErrChanged] and [ErrNeedsPassword], and with what is wrong with the device, in words.
func (b *Book) Set(ctx context.Context, before, after Device, newPassword bool) (made *Device, password string, err error) {
	after.Name, after.Password, after.Created = before.Name, before.Password, before.Created
	if err := after.Check(b.o.Now()); err != nil {
		return nil, "", err
	}
	moved := after.Store != before.Store || after.Account != before.Account
	if after.Proof == ByPassword && !newPassword && (before.Proof != ByPassword || moved) {
		return nil, "", ErrNeedsPassword
	}
	draft := after.entry()
	var own error // without words on passwords around it
	entry, password, err := b.o.Passwords.ChangeWith(ctx, *draft, newPassword && after.Proof == ByPassword, func(tx *state.Tx, p login.AppPassword) error {
		own = update(tx, &before, &after, p)
		return own
	})
	if err != nil {
		return nil, "", cmp.Or(own, err)
	}
	b.outdate()
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
	_, err = tx.Exec("UPDATE devices SET password = $1, settings = $2 WHERE name = $3", p.ID, text, before.Name)
	return err
}

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
