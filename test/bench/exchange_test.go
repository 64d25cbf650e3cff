//go:build bench && linux

package bench

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/test/delay"
	"github.com/dipylon/dipylon/test/exchange"
	"github.com/dipylon/dipylon/test/harness"
)

// What is measured with a server that is far away.
const (
	exchangeMessages = 300
	exchangeOctets   = 12_600_000 // of them all
	exchangeSent     = 20_000_000 // of one that is sent
	exchangeIdle     = 200        // sessions
	exchangeUser     = "george@sakes.example"
	exchangeSecret   = "george-secret"
)

// farExchange is a gateway with a store far away: the double of an Exchange server.
type farExchange struct {
	server  *exchange.Server
	mailbox *exchange.Mailbox
	gateway *harness.Gateway
}

func startFarExchange(t *testing.T, protocol string) *farExchange {
	t.Helper()
	f := &farExchange{server: exchange.Start(t)}
	f.mailbox = f.server.AddMailbox(exchangeUser, exchangeSecret, "/o=Sakes/cn=Recipients/cn=george")
	at := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	for i := range exchangeMessages {
		mail := letterOf(i, exchangeOctets/exchangeMessages)
		f.mailbox.DeliverMail(at.Add(time.Duration(i)*time.Minute), mail, streamOf(t, mail))
	}
	mail := letterOf(0, 2000)
	short := streamOf(t, mail)
	for i := range exchangeIdle {
		box := f.server.AddMailbox(idleUser(i), exchangeSecret, fmt.Sprintf("/o=Sakes/cn=Recipients/cn=idle%d", i))
		for n := range few {
			box.DeliverMail(at.Add(time.Duration(n)*time.Minute), mail, short)
		}
	}
	near, err := url.Parse(f.server.Root)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, f.server.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	f.gateway = harness.Start(t, harness.Options{
		Kind: harness.Plain, PlaintextLogin: true,
		Stores: []harness.Mapping{{
			"name": "far", "plugin": "exchange", "domains": []string{"sakes.example"}, "sends": true,
			"settings": harness.Mapping{"url": "https://" + delay.Proxy(t, near.Host, farTrip), "ca": ca, "submission": true, "protocol": protocol},
		}},
		More: harness.Mapping{
			"log": harness.Mapping{"level": "info", "format": "json"}, "limits": harness.Mapping{"connections": 2000, "per_address": 2000},
		},
	})
	return f
}

// letterOf is mail of a size with an attachment that nothing makes smaller.
func letterOf(n, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Judy <judy@elsewhere.example>\r\nTo: %s\r\nSubject: Message %d\r\nDate: Mon, 30 Nov 2026 09:00:00 +0000\r\nMessage-ID: <%d@elsewhere.example>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=part\r\n\r\n--part\r\nContent-Type: text/plain\r\n\r\nHello.\r\n"+
		"--part\r\nContent-Type: application/octet-stream; name=data.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n", exchangeUser, n, n)
	random := rand.New(rand.NewPCG(1, uint64(n)))
	line := make([]byte, 57)
	for b.Len() < size-10 {
		for i := range line {
			line[i] = byte(random.Uint32())
		}
		b.WriteString(base64.StdEncoding.EncodeToString(line) + "\r\n")
	}
	b.WriteString("--part--\r\n")
	return b.Bytes()
}

// streamOf is mail as a server that keeps what it was gives it.
func streamOf(t *testing.T, mail []byte) []byte {
	t.Helper()
	m, err := mime.Reader{Received: time.Now(), Skeleton: true}.Read(bytes.NewReader(mail), int64(len(mail)))
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	w := fasttransfer.NewWriter(&stream)
	if err := errors.Join(w.Content(m), w.Flush()); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes()
}

// TestExchangeFar measures a store that is an Exchange server 40 ms away, over MAPI over HTTP and over EWS.
func TestExchangeFar(t *testing.T) {
	for _, protocol := range []string{"mapi", "ews"} {
		t.Run(protocol, func(t *testing.T) { measureFarExchange(t, protocol) })
	}
}

func measureFarExchange(t *testing.T, protocol string) {
	t.Helper()
	f := startFarExchange(t, protocol)
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%s, %s, load at the start %s\n\n| over %s | measured | goal |\n|---|---|---|\n", time.Now().UTC().Format(time.DateOnly), machine(), strings.Fields(string(load))[0], protocol)
	print := func(what, measured, goal string) { fmt.Printf("| %s | %s | ≤ %s |\n", what, measured, goal) }
	for _, when := range []struct{ what, goal string }{{"cold", "10"}, {"warm", "5"}} {
		login, message := f.first(t)
		print("round trips from the login to the first message, "+when.what, fmt.Sprintf("%.1f", message.Seconds()/farTrip.Seconds()), when.goal)
		print("round trips of the login itself, "+when.what, fmt.Sprintf("%.1f", login.Seconds()/farTrip.Seconds()), "–")
	}
	for range *pairs {
		begin := time.Now()
		if err := drain(f.gateway.Address("pop3"), exchangeUser, exchangeSecret, exchangeMessages); err != nil {
			t.Fatal(err)
		}
		print(fmt.Sprintf("%d messages of %.1f MB drained", exchangeMessages, float64(exchangeOctets)/1e6), fmt.Sprintf("%.2f s", time.Since(begin).Seconds()), "2.0 s")
	}
	took, memory := f.send(t)
	print("one message of 20 MB sent through submission", fmt.Sprintf("%.2f s", took.Seconds()), "5 s")
	print("memory for it, gateway and plugin", fmt.Sprintf("%.1f MB", float64(memory)/1e6), "16 MB")
	print("memory of an idle session, gateway and plugin", fmt.Sprintf("%.0f KB", f.idle(t)/1e3), "100 KB")
}

// first says how long a login takes, and what is behind it up to the end of the first message.
func (f *farExchange) first(t *testing.T) (login, message time.Duration) {
	t.Helper()
	begin := time.Now()
	p, err := harness.LoginPOP3(f.gateway.Address("pop3"), nil, exchangeUser, exchangeSecret)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	login = time.Since(begin)
	if _, err := p.RetrTo(1, io.Discard); err != nil {
		t.Fatal(err)
	}
	message = time.Since(begin) - login
	if err := p.Quit(); err != nil {
		t.Fatal(err)
	}
	return login, message
}

// send sends one large message, and says how much more memory that takes at the most.
func (f *farExchange) send(t *testing.T) (took time.Duration, memory int64) {
	t.Helper()
	s, err := harness.DialSMTP(f.gateway.Address("submission"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Auth(exchangeUser, exchangeSecret); err != nil {
		t.Fatal(err)
	}
	mail := bytes.Replace(letterOf(0, exchangeSent), []byte("judy@elsewhere.example"), []byte(exchangeUser), 1)
	if err := forgetPeaks(f.gateway.PID()); err != nil {
		t.Fatal(err)
	}
	before, _, err := resident(f.gateway.PID())
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := s.Send(harness.Envelope{From: exchangeUser, To: []string{"ann@elsewhere.example"}}, bytes.NewReader(mail)); err != nil {
		t.Fatal(err)
	}
	took = time.Since(begin)
	_, most, err := resident(f.gateway.PID())
	if err != nil {
		t.Fatal(err)
	}
	if sent := f.server.Sent(); len(sent) != 1 {
		t.Fatalf("%d messages were sent", len(sent))
	}
	return took, most - before
}

// idle is the memory of an idle session.
func (f *farExchange) idle(t *testing.T) float64 {
	t.Helper()
	before, err := share(f.gateway.PID())
	if err != nil {
		t.Fatal(err)
	}
	for i := range exchangeIdle {
		p, err := harness.LoginPOP3(f.gateway.Address("pop3"), nil, idleUser(i), exchangeSecret)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := p.List(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(settled)
	after, err := share(f.gateway.PID())
	if err != nil {
		t.Fatal(err)
	}
	return float64(after-before) / exchangeIdle
}

func idleUser(i int) string { return fmt.Sprintf("idle%d@sakes.example", i) }
