package host

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// parkingSpec is the spec of a plugin whose sessions rest for a short while only.
func parkingSpec(t testing.TB, what string) Spec {
	t.Helper()
	spec := specOf(t, what, fakeSettings{Messages: []string{"size:1", "size:2"}})
	spec.ParkAfter = 4 * time.Millisecond
	return spec
}

func isParked(drop backends.Maildrop) bool {
	m := drop.(*maildrop)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.line == nil
}

// awaitParked waits until a session has given its stream back.
func awaitParked(t testing.TB, drop backends.Maildrop) {
	t.Helper()
	within(t, "the session is parked", func() bool { return isParked(drop) })
}

// TestPark: a session that rests has no stream, and goes on as if it had one: with one request or many at once, and its end.
func TestPark(t *testing.T) {
	t.Parallel()
	spec := parkingSpec(t, "store")
	spec.TempDir = shortTemp(t, "")
	s, _ := start(t, spec)
	drop := openDrop(t, s)
	for range 3 {
		awaitParked(t, drop)
		if got, err := io.ReadAll(fetch(t, drop, "size:300000")); err != nil || len(got) != 300_000 {
			t.Fatal(len(got), err)
		}
		awaitParked(t, drop)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				n := 0
				for _, err := range drop.List(t.Context()) {
					if err != nil {
						t.Error(err)
					}
					n++
				}
				if n != 2 {
					t.Errorf("%d entries", n)
				}
			})
		}
		all.Wait()
	}
	awaitParked(t, drop)
	s.current.rests.mu.Lock()
	if s.current.rests.tick != nil || len(s.current.rests.all) > 0 {
		t.Error("there is nothing to be parked, and it is looked for")
	}
	s.current.rests.mu.Unlock()
	if n := sessions(t, s); n != 1 {
		t.Errorf("%d maildrops are open", n)
	}
	if err := drop.Close(); err != nil {
		t.Error(err)
	}
	if n := sessions(t, s); n != 0 {
		t.Errorf("%d maildrops are open", n)
	}
}

// TestParkOpenContent: a session whose message is being read does not rest.
func TestParkOpenContent(t *testing.T) {
	t.Parallel()
	spec := parkingSpec(t, "store")
	spec.TempDir = shortTemp(t, "")
	s, _ := start(t, spec)
	drop, other := openDrop(t, s), openDrop(t, s)
	content := fetch(t, drop, "size:5000000") // more than its window
	awaitParked(t, other)
	if isParked(drop) {
		t.Error("the session is parked")
	}
	if n, err := io.Copy(io.Discard, content); err != nil || n != 5_000_000 {
		t.Error(n, err)
	}
	awaitParked(t, drop)
}

// TestParkedProcessEnds: the end of a process is told to those who wait for that of a session that is parked, and to its next request.
func TestParkedProcessEnds(t *testing.T) {
	t.Parallel()
	spec := parkingSpec(t, "store")
	spec.TempDir = shortTemp(t, "")
	s, _ := start(t, spec)
	drop := openDrop(t, s)
	told := make(chan struct{})
	drop.Opened().AfterLoss(func() { close(told) })
	awaitParked(t, drop)
	_, err := s.Login(t.Context(), userNamed("crash"))
	kindIs(t, err, backends.Temporary)
	<-told
	if _, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "size:1"}); !errors.Is(err, ErrPluginDied) {
		t.Error(err)
	}
	if err := drop.Close(); !errors.Is(err, ErrPluginDied) {
		t.Error(err)
	}
}

// TestParkedSwap: a process that was replaced keeps what is parked, until it is closed; and one that is ended under it closes it.
func TestParkedSwap(t *testing.T) {
	t.Parallel()
	spec := parkingSpec(t, "store")
	spec.TempDir = shortTemp(t, "")
	s, log := start(t, spec)
	old, drop := s.Status().PID, openDrop(t, s)
	awaitParked(t, drop)
	if err := s.Swap(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(fetch(t, drop, "size:7")); err != nil || len(got) != 7 {
		t.Error(len(got), err)
	}
	awaitParked(t, drop)
	if err := drop.Close(); err != nil {
		t.Error(err)
	}
	within(t, "the old process has ended", func() bool { return !alive(old) })
	drop = openDrop(t, s)
	awaitParked(t, drop)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"does not end", "still under way", "not closed cleanly"} {
		if strings.Contains(log.String(), wrong) {
			t.Errorf("%s: %s", wrong, log)
		}
	}
}

// parkedWrongly does with a session that is to be parked as its folder says. It says whether the session goes on.
func parkedWrongly(stream grpc.BidiStreamingServer[pb.MaildropRequest, pb.MaildropResponse], folder string, id uint64) (goesOn bool, err error) {
	switch folder {
	case "park fails":
		return true, stream.Send(&pb.MaildropResponse{Id: id, Done: true, Failure: &pb.Failure{Kind: pb.Kind_KIND_UNSUPPORTED}})
	case "park ends":
		return false, nil
	case "park talks":
		if err = stream.Send(doneOf(id)); err == nil {
			err = stream.Send(doneOf(id))
		}
		<-stream.Context().Done()
		return false, err
	case "park answers":
		return true, stream.Send(headOf(id, 5))
	case "park hangs":
		<-stream.Context().Done()
		return false, nil
	case "park goes on":
		err := stream.Send(doneOf(id))
		<-stream.Context().Done()
		return false, err
	}
	return false, stream.Send(doneOf(id))
}

// TestParkLies: a plugin that breaks the rules of parking costs the session that it breaks them in, which is told; others go on.
func TestParkLies(t *testing.T) {
	t.Parallel()
	spec := parkingSpec(t, "liar-parks")
	spec.CallTimeout, spec.StallTimeout, spec.CloseTimeout, spec.TempDir = time.Minute, 200*time.Millisecond, time.Second, shortTemp(t, "")
	s, _ := start(t, spec)
	open := func(t *testing.T, folder string) backends.Maildrop {
		t.Helper()
		drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann, Folder: folder})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = drop.Close() })
		return drop
	}
	for _, folder := range []string{"park ends", "park talks", "park answers", "park hangs", "park goes on"} {
		t.Run(folder, func(t *testing.T) {
			drop := open(t, folder)
			within(t, "the session is over", func() bool { return drop.(*maildrop).lost.Load() })
			_, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "right"})
			kindIs(t, err, backends.Temporary)
		})
	}
	t.Run("forgotten", func(t *testing.T) {
		drop := open(t, "")
		told := make(chan struct{})
		drop.Opened().AfterLoss(func() { close(told) })
		awaitParked(t, drop)
		_, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "right"})
		kindIs(t, err, backends.Temporary)
		<-told
	})
	t.Run("refused", func(t *testing.T) {
		drop := open(t, "park fails")
		within(t, "it was asked twice", func() bool { return drop.(*maildrop).g.parkings.Load() > 10 })
		if got, err := io.ReadAll(fetch(t, drop, "right")); err != nil || len(got) != 100_000 {
			t.Error(len(got), err)
		}
	})
	t.Run("closed while it hangs", func(t *testing.T) {
		drop := open(t, "park hangs")
		m := drop.(*maildrop)
		within(t, "it is about to be parked", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.changing != nil || m.requests == nil
		})
		_ = drop.Close()
	})
	if s.Status().Generation != 1 {
		t.Error(s.Status())
	}
}

// TestParkRaces: requests, looks, contexts that end, and Close come at the same time.
func TestParkRaces(t *testing.T) {
	t.Parallel()
	spec := parkingSpec(t, "store")
	spec.ParkAfter, spec.TempDir = time.Microsecond, shortTemp(t, "")
	s, _ := start(t, spec)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	for i := range uint64(20) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, i))
			for range 5 {
				drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
				if err != nil {
					t.Error(err)
					return
				}
				var requests sync.WaitGroup
				for range 1 + r.IntN(3) {
					pauses := []time.Duration{time.Duration(r.IntN(200)) * time.Microsecond, time.Duration(r.IntN(2000)) * time.Microsecond}
					requests.Go(func() {
						for _, pause := range pauses {
							time.Sleep(pause)
							content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "size:70000"})
							if err != nil {
								t.Error(err)
								return
							}
							if n, err := io.Copy(io.Discard, content); err != nil || n != 70_000 {
								t.Error(n, err)
							}
							_ = content.Close()
							ctx, cancel := context.WithTimeout(t.Context(), pause/2)
							if content, err := drop.Fetch(ctx, backends.FetchRequest{ID: "size:300000"}); err == nil {
								_ = content.Close()
							}
							cancel()
						}
					})
				}
				requests.Wait()
				time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
				if err := drop.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := sessions(t, s); n != 0 {
		t.Errorf("%d maildrops are open", n)
	}
}
