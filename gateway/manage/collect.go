package manage

import (
	"context"
	"errors"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/collect"
	"github.com/dipylon/dipylon/gateway/server"
)

// WithCollector asks the running gateway of a configuration about what it collects. [ErrNotRunning]: there is none.
func WithCollector(ctx context.Context, cfg *config.Config, f func(context.Context, collect.Client) error) error {
	client := admin.DialSocket(server.SocketFile(cfg))
	err := errors.Join(f(ctx, collect.Client{Admin: client}), client.Close())
	if err != nil && nobodyThere(err) {
		return ErrNotRunning
	}
	return err
}
