package imap_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/plugins/serve"
)

const helper = "IMAP_TEST_HELPER"

// TestMain serves the store where the test binary is started as a plugin.
func TestMain(m *testing.M) {
	if os.Getenv(helper) == "plugin" {
		serve.Store(imap.New())
		return
	}
	goleak.VerifyTestMain(m)
}

// fake is an IMAP server on a socket, for what no real server can be made to say. It knows a
// mailbox of some messages; what a test wants said otherwise is in on.
type fake struct {
	greeting string
	caps     string
	validity int
	messages map[int]string // by UID
	lie      int64          // added to each RFC822.SIZE
	// on replaces the answer to a command that begins with the key. "TAG" stands for the
	// command's tag; an answer that ends with "CLOSE" closes the connection after it.
	on map[string]string

	address  string
	mu       sync.Mutex
	commands []string // without tags
	open     int      // connections
	grown    chan struct{}
}

const fakeCaps = "IMAP4rev1 SASL-IR LITERAL- UIDPLUS MOVE UNSELECT SPECIAL-USE AUTH=PLAIN"

func startFake(t *testing.T, f *fake) *fake {
	t.Helper()
	if f.greeting == "" {
		f.greeting = "* OK ready"
	}
	if f.caps == "" {
		f.caps = fakeCaps
	}
	if f.validity == 0 {
		f.validity = 7
	}
	f.grown = make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return f
}

func (f *fake) serve(conn net.Conn) {
	f.count(1)
	defer f.count(-1)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	say := func(text string) bool {
		text, bye := strings.CutSuffix(text, "CLOSE")
		_, err := io.WriteString(conn, text)
		return err == nil && !bye
	}
	if !say(f.greeting+"\r\n") || strings.HasPrefix(f.greeting, "* BYE") {
		return
	}
	last := ""
	for {
		tag, command, err := readCommand(in, conn)
		if err != nil {
			return
		}
		if command == "" { // the next step of a SASL exchange
			tag, command = last, "+"
		}
		last = tag
		f.note(command)
		content, answer := f.answer(command)
		if !say(content + strings.NewReplacer("TAG", tag, "\r\n", "\r\n", "\n", "\r\n").Replace(answer)) {
			return
		}
	}
}

// readCommand reads a command with its literals.
func readCommand(in *bufio.Reader, out io.Writer) (tag, command string, err error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		command += strings.TrimRight(line, "\r\n")
		found := regexp.MustCompile(`\{(\d+)(\+?)\}$`).FindStringSubmatch(command)
		if found == nil {
			break
		}
		if found[2] == "" {
			_, _ = io.WriteString(out, "+ go on\r\n")
		}
		n, _ := strconv.Atoi(found[1])
		literal := make([]byte, n)
		if _, err := io.ReadFull(in, literal); err != nil {
			return "", "", err
		}
		command = strings.TrimSuffix(command, found[0]) + fmt.Sprintf("%q", literal)
	}
	tag, command, _ = strings.Cut(command, " ")
	return tag, command, nil
}

// answer is what a command is answered with: octets as they are, and text that is made to fit.
func (f *fake) answer(command string) (content, text string) {
	verb, _, _ := strings.Cut(command, " ")
	f.mu.Lock()
	for begin, answer := range f.on {
		if strings.HasPrefix(command, begin) {
			f.mu.Unlock()
			return "", answer
		}
	}
	f.mu.Unlock()
	switch {
	case verb == "CAPABILITY":
		return "", "* CAPABILITY " + f.caps + "\nTAG OK done\n"
	case verb == "SELECT" || verb == "EXAMINE":
		return "", fmt.Sprintf("* %d EXISTS\n* OK [UIDVALIDITY %d] the same as ever\nTAG OK [READ-WRITE] selected\n", len(f.messages), f.validity)
	case verb == "LIST" && strings.Contains(command, "*"):
		return "", "* LIST (\\Trash) \"/\" Gone\nTAG OK done\n"
	case verb == "LIST":
		return "", "* LIST (\\Noselect) \".\" \"\"\nTAG OK done\n"
	case strings.HasPrefix(command, "UID FETCH"):
		return f.fetch(command), "TAG OK fetched\n"
	case strings.HasPrefix(command, "UID SEARCH"):
		return "", "* SEARCH\nTAG OK searched\n"
	case verb == "LOGOUT":
		return "", "* BYE\nTAG OK CLOSE"
	}
	return "", "TAG OK done\n"
}

var fetched = regexp.MustCompile(`^UID FETCH (\S+) \((.*)\)$`)

func (f *fake) fetch(command string) string {
	var b strings.Builder
	found := fetched.FindStringSubmatch(command)
	uids := make([]int, 0, len(f.messages))
	for uid := range f.messages {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	for i, uid := range uids {
		if found[1] != "1:*" && found[1] != strconv.Itoa(uid) {
			continue
		}
		items := fmt.Sprintf("UID %d", uid)
		if strings.Contains(found[2], "RFC822.SIZE") {
			items += fmt.Sprintf(" FLAGS () RFC822.SIZE %d", int64(len(f.messages[uid]))+f.lie)
		}
		var offset, length int
		if n, _ := fmt.Sscanf(found[2], "UID BODY.PEEK[]<%d.%d>", &offset, &length); n == 2 {
			content := f.messages[uid]
			part := content[min(offset, len(content)):min(offset+length, len(content))]
			items += fmt.Sprintf(" BODY[]<%d> {%d}\r\n%s", offset, len(part), part)
		}
		fmt.Fprintf(&b, "* %d FETCH (%s)\r\n", i+1, items)
	}
	return b.String()
}

func (f *fake) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open += n
	f.change()
}

func (f *fake) note(command string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commands = append(f.commands, command)
	f.change()
}

func (f *fake) change() {
	close(f.grown)
	f.grown = make(chan struct{})
}

// heard are the commands so far that begin with a text.
func (f *fake) heard(begin string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, c := range f.commands {
		if strings.HasPrefix(c, begin) {
			all = append(all, c)
		}
	}
	return all
}

// until waits for a condition over commands and connections.
func (f *fake) until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		f.mu.Lock()
		grown := f.grown
		f.mu.Unlock()
		if condition() {
			return
		}
		select {
		case <-grown:
		case <-timeout:
			t.Fatalf("not yet %s; the commands were %q", what, f.heard(""))
		}
	}
}

func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// store is a backend in front of the fake.
func (f *fake) store(t *testing.T, more map[string]any) *imap.Store {
	t.Helper()
	settings := map[string]any{"address": f.address, "tls": "none", "timeout": "5s"}
	for k, v := range more {
		settings[k] = v
	}
	s := imap.New()
	if err := s.Configure(t.Context(), given(t, settings)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (f *fake) maildrop(t *testing.T, s *imap.Store) backends.Maildrop {
	t.Helper()
	d, err := s.Open(t.Context(), backends.OpenRequest{Credential: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

var password = backends.Credential{Kind: backends.CredentialPassword, User: "ada@peer.example", Secret: []byte("ada-secret")}

func list(t *testing.T, d backends.Maildrop) []backends.Entry {
	t.Helper()
	var all []backends.Entry
	for e, err := range d.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func fetch(t *testing.T, d backends.Maildrop, id backends.MessageID) (string, error) {
	t.Helper()
	c, err := d.Fetch(t.Context(), backends.FetchRequest{ID: id})
	if err != nil {
		return "", err
	}
	defer c.Close()
	octets, err := io.ReadAll(c)
	return string(octets), err
}

func given(t *testing.T, settings map[string]any) backends.Settings {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return backends.Settings{Store: "peer", Hostname: "gate.example", Domains: []string{"peer.example"}, Raw: raw, StateDir: t.TempDir()}
}
