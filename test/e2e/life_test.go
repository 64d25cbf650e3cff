//go:build linux

package e2e

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
)

// TestMemory (I11): memory is not a matter of a message's size. While a message of 64 MB goes in
// or out, gateway and plugin together take at most 16 MB more than while some of 8 MB do.
func TestMemory(t *testing.T) {
	const small, large, most = 8 << 20, 64 << 20, 16 << 20
	g := harness.Start(t, harness.Options{Kind: harness.Plain, More: harness.Mapping{
		"limits": harness.Mapping{"message_size": "200MiB"}, "log": harness.Mapping{"level": "info", "format": "json"},
	}})
	user := g.AddUser(t, "erika")
	s := mx(t, g)
	defer s.Quit()
	in := func(size int64) {
		if _, err := s.Send(envelope(user), corpus.Sized("memory", size)); err != nil {
			t.Fatal(err)
		}
	}
	smallIn := peak(t, g, func() {
		for range 3 {
			in(small)
		}
	})
	largeIn := peak(t, g, func() { in(large) })

	p := login(t, g, user) // not measured: a password's hash takes memory on purpose
	defer p.Quit()
	out := func(n int) {
		if octets, err := p.RetrTo(n, io.Discard); err != nil || octets < small {
			t.Fatalf("%d octets came (%v)", octets, err)
		}
	}
	smallOut := peak(t, g, func() { out(1); out(2); out(3) })
	largeOut := peak(t, g, func() { out(4) })
	t.Logf("KiB: in %d and %d, out %d and %d", smallIn>>10, largeIn>>10, smallOut>>10, largeOut>>10)
	if more := largeIn - smallIn; more > most {
		t.Errorf("on its way in the large message took %d KiB more", more>>10)
	}
	if more := largeOut - smallOut; more > most {
		t.Errorf("on its way out the large message took %d KiB more", more>>10)
	}
}

// peak is the most memory that gateway and plugins had together, at the worst, during some work.
func peak(t *testing.T, g *harness.Gateway, work func()) (sum int64) {
	t.Helper()
	pids := append(g.Plugins(), g.PID())
	for _, pid := range pids {
		// 5: the peak counts from now (proc_pid_clear_refs(5)).
		if err := os.WriteFile(filepath.Join("/proc", itoa(pid), "clear_refs"), []byte("5"), 0); err != nil {
			t.Fatal(err)
		}
	}
	work()
	for _, pid := range pids {
		_, most := harness.Memory(t, pid)
		sum += most
	}
	return sum
}

// TestDrain: SIGTERM lets a message in both directions come to its end, takes no new
// connections, tells idle sessions, and the process ends with 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user, idler := g.AddUser(t, "erika"), g.AddUser(t, "max")
	content, err := corpus.Find("large/message-20m")
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, g, user, content.Content())
	idle, reading, sending := login(t, g, idler), login(t, g, user), mx(t, g)

	readBegun, sendBegun, proceed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var got bytes.Buffer
	var wait sync.WaitGroup
	wait.Go(func() {
		out := io.MultiWriter(&got, &gate{begun: readBegun, proceed: proceed})
		if _, err := reading.RetrTo(1, out); err != nil {
			t.Errorf("the message that was being read: %v", err)
		}
	})
	wait.Go(func() {
		in := io.MultiReader(corpus.Sized("drain", 100_000), &waiting{begun: sendBegun, proceed: proceed}, strings.NewReader("The end.\r\n"))
		if _, err := sending.Send(envelope(idler), in); err != nil {
			t.Errorf("the message that was being sent: %v", err)
		}
	})
	<-readBegun
	<-sendBegun
	children := g.Plugins()
	g.Signal(t, syscall.SIGTERM)
	harness.Eventually(t, 10*time.Second*slack, "connections refused", func() bool {
		conn, err := net.Dial("tcp", g.Address("pop3"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	// The listeners are closed first, and then sessions are told.
	harness.Eventually(t, 10*time.Second*slack, "the end of the idle session", func() bool {
		_, err := idle.Ask("NOOP")
		return err != nil
	})
	close(proceed)
	wait.Wait()
	if err := g.WaitExit(t); err != nil {
		t.Errorf("the gateway ended with %v", err)
	}
	g.NobodyLeft(t, children)
	if _, err := trace(got.Bytes(), content.Content()); err != nil {
		t.Error(err)
	}

	g.Run(t)
	p := login(t, g, idler)
	defer p.Quit()
	if n, _, err := p.Stat(); n != 1 || err != nil {
		t.Errorf("the message that was being sent: %d messages (%v)", n, err)
	}
}

// waiting is a reader that tells that it is read, waits, and is at its end.
type waiting struct {
	begun   chan<- struct{}
	proceed <-chan struct{}
}

func (w *waiting) Read([]byte) (int, error) {
	close(w.begun)
	<-w.proceed
	return 0, io.EOF
}

// TestDiskFull (I1): when the store's disk is full a message is refused for now, those that were
// acknowledged are all there, and with room again mail is taken again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := filepath.Join(dir, "mail")
	for _, folder := range []string{disk, filepath.Join(dir, "people")} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	store := harness.MaildirStore("mail", harness.Domain)
	store["settings"] = harness.Mapping{"root": "mail", "accounts": "people/accounts.yaml"}
	// The disk is a small file system that the gateway and its plugins alone can see.
	mount := `mount -t tmpfs -o size=4m,mode=700 none "$0" && exec "$@"`
	g := harness.Start(t, harness.Options{Dir: dir, Stores: []harness.Mapping{store}, Wrapper: []string{"unshare", "-rm", "sh", "-c", mount, disk}})
	user := g.AddUserIn(t, "people", "erika@"+harness.Domain)

	acknowledged, refused := fillDisk(t, g, user)
	if acknowledged == 0 || refused == 0 {
		t.Fatalf("%d messages were acknowledged and %d refused", acknowledged, refused)
	}
	p := login(t, g, user)
	n, _, err := p.Stat()
	if err != nil || n != acknowledged {
		t.Fatalf("%d messages (%v), and %d were acknowledged", n, err, acknowledged)
	}
	for i := range n {
		got, err := p.Retr(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trace(got, sized(i, 200_000)); err != nil {
			t.Error(err)
		}
		if err := p.Dele(i + 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Quit(); err != nil {
		t.Fatalf("deleting on a full disk: %v", err)
	}
	deliver(t, g, user, sized(0, 200_000))
}

// fillDisk sends messages until five have been refused.
func fillDisk(t *testing.T, g *harness.Gateway, user harness.User) (acknowledged, refused int) {
	t.Helper()
	for refused < 5 {
		s := mx(t, g)
		_, err := s.Send(envelope(user), bytes.NewReader(sized(acknowledged, 200_000)))
		if err == nil {
			acknowledged++
			s.Quit()
			continue
		}
		refusal(t, err, "45")
		refused++
		s.Close()
	}
	return acknowledged, refused
}

// sized is the n-th message of a series.
func sized(n int, size int64) []byte {
	content, _ := io.ReadAll(corpus.Sized("series-"+itoa(n), size)) // it does not fail
	return content
}

// TestThrottledLogins: guessing is slow, and the answers do not tell a user who exists from one
// who does not; the owner of the account gets in all the same from a connection of its own.
func TestThrottledLogins(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	const guess = "bidFq-guess" // what stands in no text of ours
	answers := map[string]bool{}
	for _, name := range []string{user.Address, "nobody@" + harness.Domain, "nobody@elsewhere.example"} {
		c := harness.Dial(t, g.Address("pop3s"), g.Authority.Client())
		c.Expect("+OK")
		c.Ask("USER "+name, "+OK")
		answer, session, _ := strings.Cut(c.Ask("PASS "+guess, "-ERR [AUTH]"), " (session ")
		if session == "" {
			t.Error("the refusal does not name its session")
		}
		answers[answer] = true
		c.Close()
	}
	if len(answers) != 1 {
		t.Errorf("the answers tell users apart: %v", answers)
	}
	// One connection may guess only so often.
	c := harness.Dial(t, g.Address("pop3s"), g.Authority.Client())
	c.Expect("+OK")
	for n := range 3 {
		c.Ask("USER guess@"+harness.Domain, "+OK")
		if n == 2 {
			c.Send("PASS %s", guess)
			break
		}
		c.Ask("PASS "+guess, "-ERR")
	}
	if rest := c.ExpectClosed(); !bytes.HasPrefix(rest, []byte("-ERR")) {
		t.Errorf("before it hangs up the server says %q", rest)
	}
	p := login(t, g, user)
	p.Quit()
	for _, e := range g.Log.Since(0) {
		if strings.Contains(e.Text, user.Password) || strings.Contains(e.Text, guess) {
			t.Errorf("a password stands in the log: %s", e.Text)
		}
	}
}

// TestNoLoginInTheClear: without TLS no password is asked for.
func TestNoLoginInTheClear(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	c := harness.Dial(t, g.Address("pop3"), nil)
	c.Expect("+OK")
	c.Ask("CAPA", "+OK")
	capabilities := string(c.Multi())
	if strings.Contains(capabilities, "USER") || strings.Contains(capabilities, "SASL") || !strings.Contains(capabilities, "STLS") {
		t.Errorf("without TLS the capabilities are %q", capabilities)
	}
	c.Ask("USER "+user.Address, "-ERR")
}

// TestPlaintextIsForgotten (CVE-2021-33515, CVE-2011-0411): what came before TLS does not count
// after it.
func TestPlaintextIsForgotten(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	t.Run("STLS", func(t *testing.T) {
		c := harness.Dial(t, g.Address("pop3"), nil)
		c.Expect("+OK")
		c.Raw("STLS\r\nUSER " + user.Address + "\r\n")
		c.Expect("+OK")
		c.StartTLS(g.Authority.Client())
		c.Ask("PASS "+user.Password, "-ERR") // no USER has been said in this TLS session
	})
	t.Run("STARTTLS", func(t *testing.T) {
		c := harness.Dial(t, g.Address("smtp"), nil)
		c.ExpectReply(220)
		c.Send("EHLO client.corpus.example")
		c.ExpectReply(250)
		// A client that does not wait is refused: nothing can be left over.
		c.Raw("STARTTLS\r\nMAIL FROM:<sender@corpus.example>\r\n")
		c.ExpectReply(554)
	})
}
