package edge

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// issue makes a certificate for names, and writes it and its key to files.
func issue(t *testing.T, files Files, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, files.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func filesIn(dir, name string) Files {
	return Files{filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")}
}

// load makes a certificate and loads it.
func load(t *testing.T, files Files, names ...string) *Pair {
	t.Helper()
	issue(t, files, names...)
	p, err := LoadPair(files)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// shown is the name of the certificate that a client is shown, and the protocol that was agreed
// on.
func shown(server *tls.Config, name string, protocols ...string) (certificate, protocol string, err error) {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(far, server).Handshake()
		far.Close()
	}()
	client := tls.Client(near, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protocols})
	err = client.Handshake()
	state := client.ConnectionState()
	near.Close()
	<-done
	if err != nil {
		return "", "", err
	}
	return state.PeerCertificates[0].Subject.CommonName, state.NegotiatedProtocol, nil
}

func TestCertificateByName(t *testing.T) {
	dir := t.TempDir()
	pairs := []*Pair{
		load(t, filesIn(dir, "first"), "mail.sakes.example"),
		load(t, filesIn(dir, "second"), "mail.partner.example", "pop.partner.example"),
		load(t, filesIn(dir, "third"), "*.hosted.example"),
	}
	server := ServerTLS(pairs, tls.VersionTLS12, POP3)
	for asked, want := range map[string]string{
		"mail.sakes.example":     "mail.sakes.example",
		"pop.partner.example":    "mail.partner.example",
		"MAIL.partner.example":   "mail.partner.example",
		"a.hosted.example":       "*.hosted.example",
		"a.b.hosted.example":     "mail.sakes.example",
		"nobody-knows.example":   "mail.sakes.example",
		"":                       "mail.sakes.example",
		"mail.sakes.example.org": "mail.sakes.example",
	} {
		if got, _, err := shown(server, asked); got != want || err != nil {
			t.Errorf("who asks for %q sees %q (%v), not %q", asked, got, err, want)
		}
	}
}

func TestApplicationProtocols(t *testing.T) {
	pairs := []*Pair{load(t, filesIn(t.TempDir(), "a"), "mail.sakes.example")}
	for _, c := range []struct {
		name         string
		ours, theirs []string
		want         string
		refused      bool
	}{
		{"a mail client as there always were", POP3, nil, "", false},
		{"a client that says what it speaks", POP3, []string{"pop3"}, "pop3", false},
		{"a client that speaks more", POP3, []string{"imap", "pop3"}, "pop3", false},
		{"a browser at POP3", POP3, []string{"h2", "http/1.1"}, "", true},
		{"IMAP at POP3", POP3, []string{"imap"}, "", true},
		{"SMTP at POP3", POP3, []string{"smtp"}, "", true},
		{"SMTP", SMTP, []string{"smtp"}, "smtp", false},
		{"ESMTP", SMTP, []string{"esmtp"}, "esmtp", false},
		{"a browser at SMTP", SMTP, []string{"http/1.1"}, "", true},
		{"FTP at SMTP", SMTP, []string{"ftp"}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got, err := shown(ServerTLS(pairs, tls.VersionTLS12, c.ours), "", c.theirs...)
			if refused := err != nil; refused != c.refused || got != c.want {
				t.Errorf("agreed on %q, %v", got, err)
			}
			if c.refused && !strings.Contains(err.Error(), "no application protocol") {
				t.Errorf("refused with %v", err)
			}
		})
	}
}

func TestOldVersionsOfTLS(t *testing.T) {
	server := ServerTLS([]*Pair{load(t, filesIn(t.TempDir(), "a"), "a.example")}, tls.VersionTLS12, POP3)
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		_ = tls.Server(far, server).Handshake()
		far.Close()
	}()
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if err := tls.Client(near, old).Handshake(); err == nil {
		t.Error("TLS 1.1 is taken (RFC 8996)")
	}
}

// TestCertificateFollowsItsFiles changes the files as renewals and accidents do.
func TestCertificateFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	files := filesIn(dir, "mail")
	pair := load(t, files, "old.example")
	server := ServerTLS([]*Pair{pair}, tls.VersionTLS12, POP3)
	var log bytes.Buffer
	w := &Watcher{Log: zerolog.New(&log)}
	w.Watch([]*Pair{pair})
	look := func(what, want, logged string) {
		t.Helper()
		log.Reset()
		w.Look()
		if got, _, err := shown(server, ""); got != want || err != nil {
			t.Errorf("%s: clients see %q (%v), not %q", what, got, err, want)
		}
		if logged == "" && log.Len() > 0 || !strings.Contains(log.String(), logged) {
			t.Errorf("%s: the log says %q", what, log.String())
		}
		if strings.Contains(log.String(), "PRIVATE") {
			t.Errorf("%s: a key is in the log", what)
		}
	}
	look("nothing new", "old.example", "")

	next := filesIn(t.TempDir(), "next")
	issue(t, next, "new.example")
	content := func(file string) []byte {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write(t, files.Certificate, content(next.Certificate))
	look("half of a renewal", "old.example", "")
	write(t, files.Key, content(next.Key))
	look("the other half", "new.example", "is a new one")
	look("after the renewal", "new.example", "")

	write(t, files.Certificate, []byte("garbage"))
	look("garbage", "new.example", "")
	look("garbage that stays", "new.example", "the old one stays")
	look("garbage that was told of", "new.example", "")
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	look("no key", "new.example", "")
	look("no key, still", "new.example", "the old one stays")

	// As ACME clients and container mounts do it: the name is a link, and the link is turned.
	issue(t, next, "linked.example")
	for from, to := range map[string]string{files.Certificate: next.Certificate, files.Key: next.Key} {
		_ = os.Remove(from)
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	look("a link", "linked.example", "is a new one")
}

// TestWatcherLooks sees the watcher look by itself, and end.
func TestWatcherLooks(t *testing.T) {
	dir := t.TempDir()
	files := filesIn(dir, "mail")
	pair := load(t, files, "old.example")
	issue(t, files, "new.example")
	synctest.Test(t, func(t *testing.T) {
		w := &Watcher{Log: zerolog.New(io.Discard)}
		w.Watch([]*Pair{pair})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.Run(ctx, LookEvery)
		}()
		time.Sleep(LookEvery - time.Nanosecond)
		synctest.Wait()
		if name := pair.cert.Load().Leaf.DNSNames; !slices.Equal(name, []string{"old.example"}) {
			t.Errorf("it looked too early: %q", name)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if name := pair.cert.Load().Leaf.DNSNames; !slices.Equal(name, []string{"new.example"}) {
			t.Errorf("it has not looked: %q", name)
		}
		cancel()
		<-done
	})
}

func TestLoadPairRefuses(t *testing.T) {
	dir := t.TempDir()
	a, b := filesIn(dir, "a"), filesIn(dir, "b")
	issue(t, a, "a.example")
	issue(t, b, "b.example")
	for name, files := range map[string]Files{
		"another's key":   {a.Certificate, b.Key},
		"no certificate":  {filepath.Join(dir, "none"), a.Key},
		"files exchanged": {a.Key, a.Certificate},
	} {
		if _, err := LoadPair(files); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}
