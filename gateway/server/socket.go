package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/collect"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/status"
	"github.com/dipylon/dipylon/gateway/track"
)

// SocketFile is the socket through which the administrator's commands ask a running gateway: in its state
// folder, for the gateway's user alone. Whoever may open it may handle the mail in transit.
func SocketFile(cfg *config.Config) string { return filepath.Join(cfg.StateFolder, "admin.sock") }

// listenForCommands makes the socket. It is made in a folder that is this user's alone, and gets its place
// when nobody else may open it.
func listenForCommands(file, private string) (l net.Listener, err error) {
	made := filepath.Join(private, filepath.Base(file))
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) { // a process that was killed left it
		return nil, err
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	socket.SetUnlinkOnClose(false) // its name is another one then
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, file)
	}
	if err == nil {
		err = state.Inherit(file)
	}
	if err != nil {
		_ = os.Remove(made) // it may have its place already
		return nil, errors.Join(err, socket.Close())
	}
	return commandSocket{socket, file}, nil
}

// commandSocket is a socket that goes with its file.
type commandSocket struct {
	net.Listener
	file string
}

// Close implements [net.Listener].
func (s commandSocket) Close() error {
	err := os.Remove(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.Listener.Close())
}

// answerCommands has an engine answer what commands ask.
func (g *Server) answerCommands(e *admin.Server, log zerolog.Logger) {
	e.Queue = queue.Handler(log, &queue.Spool{Spool: g.spool, Ways: g.ways(), Log: log, Waits: g.whyWaiting, Again: g.triedAgain})
	e.Track = track.Handler(log, g.db)
	e.Collect = collect.Handler(log, g.fetcher)
	e.Status = status.Handler(log, g.status)
}

// serveCommands answers the administrator's commands. A gateway without it serves as well.
func (g *Server) serveCommands() {
	file := SocketFile(g.cfg)
	socket, err := listenForCommands(file, g.buffers.Folder)
	if err != nil {
		g.log.Warn().Err(err).Str("socket", file).Msg("the commands that handle the queue cannot reach this gateway: give it a state folder with a shorter name, on a file system with sockets")
		return
	}
	log := g.log.With().Str("protocol", config.ProtocolAdmin).Logger()
	e := g.newAdmin()
	g.answerCommands(e, log)
	g.mu.Lock()
	g.engines[e] = Listener{Protocol: config.ProtocolAdmin, Address: file}
	g.mu.Unlock()
	g.work.Go(func() {
		err := e.Serve(g.base, socket)
		g.mu.Lock()
		delete(g.engines, e)
		g.mu.Unlock()
		if err != nil {
			g.fail(fmt.Errorf("the socket %s: %w", file, err))
		}
	})
}
