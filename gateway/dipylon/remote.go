package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/admin"
)

// remote is a gateway that is asked through its admin listener.
type remote struct{ server, token, ca string }

func (r *remote) flags(flags *pflag.FlagSet) {
	flags.StringVar(&r.server, "server", "", "ask the admin listener at this address, as https://mail.example.org:1080, instead of the gateway of the configuration")
	flags.StringVar(&r.token, "token", "env:DIPYLON_TOKEN", "where its token is: file:NAME or env:NAME")
	flags.StringVar(&r.ca, "ca", "", "a PEM file with the authorities of its certificate, or a self-signed one itself; none: the system's")
}

// named says whether there is one.
func (r *remote) named() bool { return r.server != "" }

// with does something with the gateway.
func (r *remote) with(cmd *cobra.Command, from *source, f func(context.Context, *admin.Client) error) error {
	if from.file != "" {
		return withCode(exitUsage, errors.New("--config is a gateway of this machine, and --server another one: give one of them"))
	}
	client, err := r.dial()
	if err != nil {
		return withCode(exitUsage, err)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), stopSignals()...)
	defer stop()
	return errors.Join(f(ctx, client), client.Close())
}

func (r *remote) dial() (*admin.Client, error) {
	if !strings.HasPrefix(r.token, "file:") && !strings.HasPrefix(r.token, "env:") {
		return nil, errors.New("--token: others can read what stands in a command line: write file:NAME or env:NAME")
	}
	token, err := config.Secret(r.token, ".", config.Options{})
	if err != nil {
		return nil, fmt.Errorf("--token: %w", err)
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.ca != "" {
		text, err := os.ReadFile(r.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca: the file %s has no certificate in PEM", r.ca)
		}
	}
	return admin.Dial(r.server, token, trust)
}

// askError gives what a gateway has answered its exit status.
func askError(err error) error {
	answered, is := errors.AsType[*admin.StatusError](err)
	switch {
	case is && answered.Status == http.StatusUnauthorized:
		return withCode(exitUsage, err)
	case is && answered.Status == http.StatusNotFound:
		return withCode(exitUsage, errors.New("the listener has no such thing: it needs a token in the gateway's configuration"))
	case is && answered.Status == http.StatusBadRequest:
		return withCode(exitUsage, err)
	}
	return withCode(exitTemporary, err)
}
