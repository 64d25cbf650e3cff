//go:build linux

package peers

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// StartNSD starts an NSD at the address (host:port) and waits until it answers. It has one zone, the root, so that
// what is not in the records does not exist. They are in the form of a master file (RFC 1035 §5), names absolute.
func StartNSD(t testing.TB, address, records string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "root.zone"), nsdHead+records+"\n")
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "nsd.conf")
	write(t, config, fmt.Sprintf(nsdConfig, host, port, dir))
	cmd := exec.Command("nsd", "-d", "-c", config)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (is the package nsd installed?)", err)
	}
	log := func() string {
		logged, _ := os.ReadFile(filepath.Join(dir, "log"))
		return string(logged)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("NSD's log:\n%s%s", said.String(), log())
		}
	})
	question := new(dns.Msg).SetQuestion(".", dns.TypeSOA)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("udp", address) // in the caller's thread, whose network namespace may be its own
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		answer, _, err := new(dns.Client).ExchangeWithConn(question, &dns.Conn{Conn: conn})
		_ = conn.Close()
		if err == nil && len(answer.Answer) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("NSD does not answer: %v\n%s", err, log())
		}
	}
}

const nsdHead = `$ORIGIN .
$TTL 60
. SOA ns.root.example. hostmaster.root.example. 1 3600 600 86400 1
. NS  ns.root.example.
`

const nsdConfig = `server:
  server-count: 1
  ip-address: %[1]s@%[2]s
  username: ""
  database: ""
  zonesdir: "%[3]s"
  zonelistfile: "%[3]s/zone.list"
  xfrdfile: ""
  xfrdir: "%[3]s"
  pidfile: ""
  logfile: "%[3]s/log"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: "root.zone"
`
