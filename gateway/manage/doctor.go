package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/tempfolder"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/doctor"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/plugins/host"
)

// Examination says which store is examined, and whose mailbox.
type Examination struct {
	Store string
	// Mailbox is a login name in any of the forms that the configuration has; empty: nobody logs in.
	Mailbox string
	// Secret gives the password, when it is needed.
	Secret func() ([]byte, error)
	// Acts has the gateway's word taken in place of a password where the store takes that.
	Acts bool
	// MustRefuse is a login name whose mailbox the gateway's word must not open; empty: it is not tried.
	MustRefuse string
	// SendToSelf has a mail sent from the mailbox to itself.
	SendToSelf bool
	// FreshToken has the store ask for a token anew, although there is one that is good still.
	FreshToken bool
}

// Examine starts a store's backend as the gateway does, with a state folder of its own, and tells each step from there to the
// first message. A step that has failed is no error. No secret of the settings stands in what is told, nor the password.
func Examine(ctx context.Context, cfg *config.Config, e Examination, tell func(backends.Step)) error {
	s, err := StoreNamed(cfg, e.Store)
	if err != nil {
		return err
	}
	name, err := nameOf(cfg, s, e.Mailbox)
	if err != nil {
		return err
	}
	dir, err := tempfolder.New("", "doctor")
	if err != nil {
		return err
	}
	defer dir.Remove() //nolint:errcheck // it is in the folder for such things
	store, can, err := startFor(ctx, cfg, s, dir.Path, tell)
	if err != nil || store == nil {
		return err
	}
	defer store.Close() //nolint:errcheck // it has told what there was to tell
	request, err := e.request(can, name)
	if err != nil {
		return err
	}
	request.FreshToken = e.FreshToken
	o := doctor.Options{Can: can.Capabilities, Login: request, Address: addressOf(s, name), SendToSelf: e.SendToSelf}
	if o.MustRefuse, err = e.mustRefuse(cfg, s, can); err != nil {
		return err
	}
	redact := stores.Redactor(request.Credential.Secret, s.Settings.JSON, can.Settings)
	err = doctor.Run(ctx, store, o, func(step backends.Step) {
		step.Name, step.Detail, step.Advice = redact(step.Name), redact(step.Detail), redact(step.Advice)
		tell(step)
	})
	if err != nil {
		return errors.New(redact(fmt.Sprintf("examining the store %q: %v", s.Name, err)))
	}
	return nil
}

// startFor starts a store. One that does not start is a step that has failed, and no store.
func startFor(ctx context.Context, cfg *config.Config, s config.Store, dir string, tell func(backends.Step)) (store *stopped, can backends.Description, err error) {
	spec, err := server.SpecOf(cfg, s)
	if err != nil {
		return nil, can, err
	}
	if !keepsLogin(s) {
		spec.Settings.StateDir = dir
	}
	done, err := withLogin(ctx, cfg, s, &spec)
	if err != nil {
		return nil, can, err
	}
	store = &stopped{host.New(zerolog.Nop(), spec), done}
	began := time.Now()
	if err = store.Start(ctx); err == nil {
		can, err = store.Describe(ctx)
	}
	step := backends.Step{Name: "backend", Outcome: backends.StepGood, Took: time.Since(began)}
	if err == nil {
		step.Detail = fmt.Sprintf("%s %s has started and takes its settings", can.Name, can.Version)
		tell(step)
		return store, can, nil
	}
	_ = store.Close()
	step.Outcome, step.Detail, step.Cause = backends.StepFailed, err.Error(), "backend-does-not-start"
	step.Advice = "See what the backend says; dipylon check tells what is wrong with its settings, with file and line."
	if wrong, is := errors.AsType[*backends.SettingsError](err); is {
		step.Detail, step.Cause = wrong.Error(), "settings"
		step.Advice = "Mend the store's settings; dipylon check tells where they stand."
	}
	tell(step)
	return nil, can, nil
}

// keepsLogin says whether a store has a refresh token, which may change with each use: it is used as the gateway itself does, from
// where that keeps it, or from the state folder, where an earlier version has left it.
func keepsLogin(s config.Store) bool {
	var settings struct {
		OAuth struct {
			Grant string `json:"grant"`
		} `json:"oauth"`
	}
	return json.Unmarshal(s.Settings.JSON, &settings) == nil && settings.OAuth.Grant == string(oauth.RefreshToken)
}

// mustRefuse is the gateway's word for somebody who must not be let in.
func (e Examination) mustRefuse(cfg *config.Config, s config.Store, can backends.Description) (c backends.Credential, err error) {
	if e.MustRefuse == "" {
		return c, nil
	}
	name, err := nameOf(cfg, s, e.MustRefuse)
	if err == nil && !slices.Contains(can.Credentials, backends.CredentialImpersonation) {
		err = &ArgumentError{"must-refuse", fmt.Errorf("the store %q does not let the gateway act for its users: there is nothing to refuse", s.Name)}
	}
	return backends.Credential{Kind: backends.CredentialImpersonation, User: name.String(), Peer: backends.Peer{Protocol: "doctor"}}, err
}

// ExamineRoute goes the way of mail by a route. No secret of the route stands in what is told.
func ExamineRoute(ctx context.Context, cfg *config.Config, e server.RouteExamination, tell func(backends.Step)) error {
	at := slices.IndexFunc(cfg.Routes, func(r config.Route) bool { return r.Name == e.Route })
	if at < 0 {
		return fmt.Errorf("the configuration has no store and no route %q", e.Route)
	}
	var redact []func(string) string
	r := cfg.Routes[at]
	secrets := []string{r.Password.Value}
	if r.OAuth != nil {
		secrets = append(secrets, r.OAuth.ClientSecret.Value, r.OAuth.SealKey.Value)
	}
	for _, secret := range secrets {
		if secret != "" {
			redact = append(redact, stores.Redactor([]byte(secret), nil, nil))
		}
	}
	return server.ExamineRoute(ctx, cfg, e, func(step backends.Step) {
		for _, hide := range redact {
			step.Name, step.Detail, step.Advice = hide(step.Name), hide(step.Detail), hide(step.Advice)
		}
		tell(step)
	})
}

// nameOf reads a login name as the gateway does. One without a domain is the store's.
func nameOf(cfg *config.Config, s config.Store, mailbox string) (name stores.Name, err error) {
	if mailbox == "" {
		return name, nil
	}
	name, ok := server.LoginPolicy(cfg).Names.Parse(mailbox)
	if !ok {
		return name, &ArgumentError{"mailbox", fmt.Errorf("%q is no login name; see \"How people log in\" in the README for the forms", mailbox)}
	}
	if name.Domain != "" && !slices.Contains(s.Domains, name.Domain) {
		return name, &ArgumentError{"mailbox", fmt.Errorf("the store %q does not have the domain %s", s.Name, name.Domain)}
	}
	if name.Domain == "" && name.Realm == "" && len(s.Domains) > 0 {
		name.Domain = s.Domains[0]
	}
	return name, nil
}

// addressOf is the address of the mailbox that a name opens; empty: it is not known.
func addressOf(s config.Store, name stores.Name) string {
	switch {
	case name.Mailbox != "" && strings.Contains(name.Mailbox, "@"):
		return name.Mailbox
	case name.Mailbox != "" && len(s.Domains) > 0:
		return name.Mailbox + "@" + s.Domains[0]
	case name.User != "" && name.Domain != "":
		return name.User + "@" + name.Domain
	}
	return ""
}

// request is a login of the name: by the gateway's word, or by its password.
func (e Examination) request(can backends.Description, name stores.Name) (backends.ExamineRequest, error) {
	if e.Mailbox == "" {
		return backends.ExamineRequest{}, nil
	}
	c := backends.Credential{User: name.String(), ActAs: name.Mailbox, Peer: backends.Peer{Protocol: "doctor"}}
	if e.Acts && slices.Contains(can.Credentials, backends.CredentialImpersonation) {
		c.Kind = backends.CredentialImpersonation
		return backends.ExamineRequest{Credential: c, Folder: name.Folder}, nil
	}
	var err error
	c.Kind = backends.CredentialPassword
	c.Secret, err = e.Secret()
	return backends.ExamineRequest{Credential: c, Folder: name.Folder}, err
}
