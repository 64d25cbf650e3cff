//go:build linux

package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// marionette is the port on which Mozilla's programs take orders from other programs: a connection
// on which commands with numbers go in, and answers with the same numbers come out. Each is JSON
// behind its length and a colon.
type marionette struct {
	conn   net.Conn
	reader *bufio.Reader
	number int
}

// openMarionette waits for a program with this profile to listen, and connects.
func openMarionette(t *testing.T, profile string) *marionette {
	t.Helper()
	var port string
	harness.Eventually(t, patience, "a port to drive the program by", func() bool {
		content, _ := os.ReadFile(filepath.Join(profile, "MarionetteActivePort"))
		port = string(content)
		return port != ""
	})
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &marionette{conn: conn, reader: bufio.NewReader(conn)}
	if _, err := m.read(); err != nil { // the greeting
		t.Fatal(err)
	}
	m.call(t, "WebDriver:NewSession", map[string]any{})
	m.call(t, "Marionette:SetContext", map[string]any{"value": "chrome"})
	return m
}

// call gives a command and returns the value of its answer.
func (m *marionette) call(t *testing.T, command string, parameters any) any {
	t.Helper()
	m.ask(t, command, parameters)
	content, err := m.read()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	var answer [4]any // that it is one, the number, an error, a result
	if err := json.Unmarshal(content, &answer); err != nil {
		t.Fatalf("%s: %v in %s", command, err, content)
	}
	if answer[1] != float64(m.number) || answer[2] != nil {
		t.Fatalf("%s, number %d: %s", command, m.number, content)
	}
	result, _ := answer[3].(map[string]any)
	return result["value"]
}

// ask sends a command, and waits for no answer.
func (m *marionette) ask(t *testing.T, command string, parameters any) {
	t.Helper()
	m.number++
	content, err := json.Marshal([]any{0, m.number, command, parameters})
	if err != nil {
		t.Fatal(err)
	}
	m.conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(content), content); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
}

func (m *marionette) read() ([]byte, error) {
	length, err := m.reader.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(length, ":"), 10, 24)
	if err != nil {
		return nil, err
	}
	content := make([]byte, n)
	_, err = io.ReadFull(m.reader, content)
	return content, err
}

// script runs the body of an asynchronous function in the program's main window and returns its
// value. The arguments are in args.
func (m *marionette) script(t *testing.T, body string, args ...any) any {
	t.Helper()
	return m.call(t, "WebDriver:ExecuteAsyncScript", map[string]any{
		"script": `const args = [...arguments], done = args.pop();
			const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
			(async () => {` + body + `})().then(done, error => done("failed: " + error));`,
		"args": append([]any{}, args...), "timeout": patience.Milliseconds(),
	})
}
