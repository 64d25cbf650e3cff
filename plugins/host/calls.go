package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// with runs a call on the current generation, if it has the capability, within the call's
// deadline.
func (s *Store) with(ctx context.Context, capable func(backends.Capabilities) bool, call func(context.Context, *generation) error) error {
	g, err := s.use(ctx)
	if err != nil {
		return err
	}
	defer g.release()
	if capable != nil && !capable(g.desc.Capabilities) {
		return g.lacks()
	}
	ctx, cancel := context.WithTimeout(ctx, g.spec.CallTimeout)
	defer cancel()
	defer g.pulse.await()()
	err = call(ctx, g)
	if ctx.Err() == nil {
		g.pulse.beat()
	}
	return err
}

// outliving is the context of a stream that outlives the call that opens it: it ends with the process,
// and has the call's trace.
func (g *generation) outliving(ctx context.Context) (context.Context, context.CancelFunc) {
	life := g.life
	if trace, ok := backends.TraceOf(ctx); ok {
		life = backends.WithTrace(life, trace)
	}
	return context.WithCancel(life)
}

// lacks is the failure of a call whose capability the plugin does not have.
func (g *generation) lacks() error {
	return backends.Fail(backends.Unsupported, "store %q (%s) does not have this capability", g.spec.Store, g.desc.Name)
}

// refused makes a failure of what cannot be sent: what it holds is no fault of the plugin's,
// and sending it again will not help.
func refused(err error) error {
	return backends.Fail(backends.Permanent, "%w", err)
}

// invalid makes a failure of an answer that breaks the rules, and leaves a line in the log.
func (g *generation) invalid(err error) error {
	g.log.Error().Err(err).Msg("the plugin's answer is not valid")
	return backends.Fail(backends.Temporary, "an answer of the plugin of store %q: %w", g.spec.Store, err)
}

// Description is what the latest process has said of itself, after it was configured; nil: none
// has been ready yet. It stays when the process ends, until the next one is ready, whose
// description is another pointer. It does not wait for anything.
func (s *Store) Description() *backends.Description { return s.said.Load() }

// Describe tells what the current process has said of itself, and waits for a process that is being
// started.
func (s *Store) Describe(ctx context.Context) (backends.Description, error) {
	g, err := s.use(ctx)
	if err != nil {
		return backends.Description{}, err
	}
	defer g.release()
	return g.desc, nil
}

// Configure puts other settings to use by [Store.Swap], or [Store.Start] before the first
// start; with settings.Check it asks a process of its own for its verdict alone.
func (s *Store) Configure(ctx context.Context, settings backends.Settings) error {
	s.mu.Lock()
	spec, started := s.spec, s.started
	spec.Settings = settings
	if !settings.Check && !started {
		s.spec = spec
	}
	s.mu.Unlock()
	switch {
	case settings.Check:
		return CheckSettings(ctx, s.log, spec)
	case !started:
		return s.Start(ctx)
	}
	return s.Swap(ctx, spec)
}

// Health asks the store behind the plugin. It says nothing of the plugin's other calls.
func (s *Store) Health(ctx context.Context) error {
	g, err := s.use(ctx)
	if err != nil {
		return err
	}
	defer g.release()
	sick, err := g.askHealth(ctx)
	return errors.Join(sick, err)
}

// Login verifies a credential. One that is the gateway's word alone is shown to the next process, once, if the process ends under it.
func (s *Store) Login(ctx context.Context, credential backends.Credential) (account backends.Account, err error) {
	m, err := convert.CredentialToProto(credential)
	if err != nil {
		return backends.Account{}, refused(err)
	}
	key := loginKey(credential)
	if paused := s.paused.of(key); paused != nil {
		return backends.Account{}, paused
	}
	if account, err = s.login(ctx, m); errors.Is(err, ErrPluginDied) && credential.Kind == backends.CredentialImpersonation {
		// The gateway's word is as good at the next process, and whoever gave it a password has done nothing wrong.
		account, err = s.login(ctx, m)
	}
	s.paused.note(key, err)
	return account, err
}

// login is a login at the current process.
func (s *Store) login(ctx context.Context, credential *pb.Credential) (account backends.Account, err error) {
	err = s.with(ctx, nil, func(ctx context.Context, g *generation) error {
		answer, err := g.stub.Login(ctx, &pb.LoginRequest{Credential: credential})
		if err != nil {
			return g.failure(ctx, err)
		}
		if account, err = convert.AccountFromProto(answer); err != nil {
			return g.invalid(err)
		}
		return nil
	})
	return account, err
}

func isReceiver(c backends.Capabilities) bool      { return c.Receiver }
func isOutbox(c backends.Capabilities) bool        { return c.Outbox }
func isReader(c backends.Capabilities) bool        { return c.Reader }
func isSender(c backends.Capabilities) bool        { return c.Sender }
func hasSendRights(c backends.Capabilities) bool   { return c.SendRights }
func isExaminer(c backends.Capabilities) bool      { return c.Examiner }
func isAuthenticator(c backends.Capabilities) bool { return c.Authenticator }

// Resolve asks about recipients.
func (s *Store) Resolve(ctx context.Context, query backends.ResolveQuery) (verdicts []backends.Verdict, err error) {
	all := query.Recipients
	key := resolveKey(query)
	var paused map[string]*backends.Failure
	if query.Recipients, paused = s.splitPaused(key, all); len(paused) > 0 && len(query.Recipients) == 0 {
		return s.joinPaused(key, all, nil, paused), nil
	}
	if verdicts, err = s.held(ctx, query); verdicts == nil && err == nil {
		verdicts, err = s.resolve(ctx, query)
	}
	if err != nil {
		return nil, err
	}
	return s.joinPaused(key, all, verdicts, paused), nil
}

// held gives the answer that the process holds; nil: none.
func (s *Store) held(ctx context.Context, query backends.ResolveQuery) ([]backends.Verdict, error) {
	g, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	defer g.release()
	if !isReceiver(g.desc.Capabilities) {
		return nil, g.lacks()
	}
	verdicts, _ := g.resolved.of(query)
	return verdicts, nil
}

// resolve asks the process, unless it holds an answer by now.
func (s *Store) resolve(ctx context.Context, query backends.ResolveQuery) (verdicts []backends.Verdict, err error) {
	m, err := convert.ResolveToProto(query)
	if err != nil {
		return nil, refused(err)
	}
	err = s.with(ctx, isReceiver, func(ctx context.Context, g *generation) error {
		known, asOf := g.resolved.of(query)
		if known != nil {
			verdicts = known
			return nil
		}
		answer, err := g.stub.Resolve(ctx, m)
		if err != nil {
			return g.failure(ctx, err)
		}
		if verdicts, err = convert.VerdictsFromProto(answer, query.Recipients); err != nil {
			return g.invalid(err)
		}
		g.resolved.note(query, verdicts, asOf)
		return nil
	})
	return verdicts, err
}

// MaySend asks whether an account may send as an address.
func (s *Store) MaySend(ctx context.Context, query backends.MaySendQuery) (right backends.SendRight, err error) {
	m, err := convert.MaySendToProto(query)
	if err != nil {
		return 0, refused(err)
	}
	err = s.with(ctx, hasSendRights, func(ctx context.Context, g *generation) error {
		answer, err := g.stub.MaySend(ctx, m)
		if err != nil {
			return g.failure(ctx, err)
		}
		if right, err = convert.SendRightFromProto(answer); err != nil {
			return g.invalid(err)
		}
		return nil
	})
	return right, err
}

// Settle tells the store what became of collected messages.
func (s *Store) Settle(ctx context.Context, settlements []backends.Settlement) error {
	m, err := convert.SettlementsToProto(settlements)
	if err != nil {
		return refused(err)
	}
	return s.with(ctx, isOutbox, func(ctx context.Context, g *generation) error {
		_, err := g.stub.Settle(ctx, m)
		return g.failure(ctx, err)
	})
}

// Authenticate starts a SASL exchange that the store conducts.
func (s *Store) Authenticate(ctx context.Context, mechanism string, peer backends.Peer) (sasl.Exchange[backends.Account], error) {
	g, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	if !isAuthenticator(g.desc.Capabilities) {
		defer g.release()
		return nil, g.lacks()
	}
	known := false
	for _, name := range g.desc.Mechanisms {
		known = known || strings.EqualFold(name, mechanism)
	}
	if !known {
		defer g.release()
		return nil, backends.Fail(backends.Unsupported, "store %q does not conduct the mechanism %q", g.spec.Store, convert.Line(mechanism, 20))
	}
	life, cancel := g.outliving(ctx)
	stream, err := g.stub.Authenticate(life)
	if err != nil {
		cancel()
		defer g.release()
		return nil, g.failure(ctx, err)
	}
	return &exchange{
		g: g, stream: stream, cancel: cancel,
		first: &pb.AuthenticateRequest{Mechanism: strings.ToUpper(mechanism), Peer: convert.PeerToProto(peer)},
	}, nil
}

// exchange is a SASL exchange under way. Its stream lives until Close.
type exchange struct {
	g      *generation
	stream pb.Store_AuthenticateClient
	cancel context.CancelFunc
	first  *pb.AuthenticateRequest // what the next request starts with
	closed sync.Once
}

// challengeMost bounds a challenge: a line of the client's protocol carries it in base64
// (RFC 4954 §4.3 has 12288 octets).
const challengeMost = 12288 / 4 * 3

// Next sends a response and waits for what the store says to it.
func (e *exchange) Next(ctx context.Context, response []byte) ([]byte, *backends.Account, error) {
	m := e.first
	if m == nil {
		m = &pb.AuthenticateRequest{}
	}
	e.first = nil
	m.HasResponse, m.Response = response != nil, response

	ctx, cancel := context.WithTimeout(ctx, e.g.spec.CallTimeout)
	defer cancel()
	defer e.g.pulse.await()()
	defer context.AfterFunc(ctx, e.cancel)() // there is no going on with an exchange that was cut
	if err := e.stream.Send(m); err != nil && !isEOF(err) {
		return nil, nil, e.g.failure(ctx, err)
	}
	answer, err := e.stream.Recv()
	if err != nil {
		return nil, nil, e.g.failure(ctx, err)
	}
	e.g.pulse.beat()
	if len(answer.GetChallenge()) > challengeMost {
		return nil, nil, e.g.invalid(fmt.Errorf("a challenge of %d octets", len(answer.GetChallenge())))
	}
	if answer.GetAccount() == nil {
		return answer.GetChallenge(), nil, nil
	}
	account, err := convert.AccountFromProto(answer.GetAccount())
	if err != nil {
		return nil, nil, e.g.invalid(err)
	}
	return answer.GetChallenge(), &account, nil
}

// Close ends the exchange.
func (e *exchange) Close() error {
	e.closed.Do(func() {
		e.cancel()
		e.g.release()
	})
	return nil
}

// stall is a bound on waiting for progress: its context ends when nothing has been heard for
// too long.
type stall struct {
	timer *time.Timer
	after time.Duration
}

func (s *stall) progress() { s.progressIn(0) }
func (s *stall) stop()     { s.timer.Stop() }

// progressIn is progress where the plugin may wait for something that long.
func (s *stall) progressIn(wait time.Duration) { s.timer.Reset(s.after + wait) }
