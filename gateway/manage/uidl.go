package manage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/uidl"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Inventory starts a store's backend and lists a mailbox, for unique-ids that move. The error of a
// backend that does not start is [server.ErrTemporary].
func Inventory(ctx context.Context, cfg *config.Config, name, folder string, c backends.Credential, o maildrop.Options) ([]index.Import, error) {
	s, err := StoreNamed(cfg, name)
	if err != nil {
		return nil, err
	}
	store, err := prepare(ctx, cfg, s)
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // what was wanted is there
	if err := store.Start(ctx); err != nil {
		return nil, server.Temporary(server.SettingsError(cfg, name, err))
	}
	drop, err := store.Open(ctx, backends.OpenRequest{Credential: c, Folder: folder})
	if err != nil {
		return nil, fmt.Errorf("opening the mailbox: %w", err)
	}
	defer drop.Close() //nolint:errcheck // it was only read
	o.Policies = &policy.Current{}
	o.Policies.Put(policy.NewTable(cfg))
	opened := stores.Config{Name: name}.In(stores.Plugin{Backend: store, Description: store.Description}).Store()
	return maildrop.Inventory(ctx, o, opened, folder, drop)
}

// UIDLFile says how a file has the unique-ids of another mail system.
type UIDLFile struct {
	Format   string // dipylon, plain, exchange, dovecot or cyrus
	Messages string // the Maildir that a dovecot-uidlist is of; empty: the store's own
	Form     string // how Dovecot and Cyrus make unique-ids; empty: as they do by default
	Validity uint32 // the UIDVALIDITY of Cyrus's folder
}

// Read reads the file, or Cyrus's folder. Wrong fields are an [*ArgumentError].
func (f UIDLFile) Read(name string) ([]index.Import, error) {
	if f.Format == "cyrus" {
		if f.Validity == 0 {
			return nil, &ArgumentError{"uidvalidity", errors.New("needed with the folders of Cyrus")}
		}
		form, err := f.formOr("cyrus")
		if err != nil {
			return nil, err
		}
		return index.ReadCyrus(name, f.Validity, form)
	}
	readers := map[string]func(io.Reader) ([]index.Import, error){
		"dipylon": index.Read, "plain": index.ReadPlain, "exchange": index.ReadExchange, "dovecot": f.readDovecot,
	}
	read, ok := readers[f.Format]
	if !ok {
		return nil, &ArgumentError{"format", fmt.Errorf("there is no format %q", f.Format)}
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return read(file)
}

func (f UIDLFile) readDovecot(r io.Reader) ([]index.Import, error) {
	form, err := f.formOr("dovecot")
	if err != nil {
		return nil, err
	}
	return index.ReadDovecot(r, f.Messages, form)
}

// formOr is the form of unique-ids.
func (f UIDLFile) formOr(usual string) (func(uid, validity uint32) string, error) {
	form := f.Form
	if form == "" {
		form = usual
	}
	rule, err := uidl.Parse(form)
	if err == nil && (rule.Header != "" || rule.Of(1, 1) == "") {
		err = errors.New("expected a text with %u in it")
	}
	if err != nil {
		return nil, &ArgumentError{"form", err}
	}
	return rule.Of, nil
}
