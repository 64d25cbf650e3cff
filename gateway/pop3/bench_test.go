package pop3

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// quiet is a server without log and metrics.
func quiet(s *Server) { s.Observer, s.Log, s.MaxPerAddress = nil, zerolog.Nop(), -1 }

// BenchmarkRETR is the throughput of one session over loopback TCP: messages of several
// sizes, read from memory.
func BenchmarkRETR(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 16 << 20} {
		for _, secure := range []bool{false, true} {
			b.Run(fmt.Sprintf("octets=%d/tls=%v", size, secure), func(b *testing.B) {
				line := strings.Repeat("x", 76) + "\r\n"
				message := strings.Repeat(line, size/len(line))
				fake := newFake()
				fake.newDrop = func(string) *fakeDrop {
					return &fakeDrop{messages: []string{message}, sizes: map[int]int64{1: int64(len(message))}}
				}
				r := start(b, fake, func(s *Server) { quiet(s); withTLS(s) })
				c := r.dialTCP()
				c.expect("+OK…")
				if secure {
					c.stls()
				}
				c.do("USER bob", "+OK…")
				c.do("PASS secret", "+OK…")
				response := int64(len(fmt.Sprintf("+OK %d octets\r\n", len(message))) + len(message) + len(".\r\n"))
				buf := make([]byte, 256<<10)
				b.SetBytes(int64(len(message)))
				for b.Loop() {
					if _, err := io.WriteString(c.conn, "RETR 1\r\n"); err != nil {
						b.Fatal(err)
					}
					for left := response; left > 0; {
						n, err := c.conn.Read(buf)
						if left -= int64(n); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}

// BenchmarkStuffing is the stuffing alone.
func BenchmarkStuffing(b *testing.B) {
	for name, line := range map[string]string{
		"canonical": strings.Repeat("x", 76) + "\r\n", "bare LF": strings.Repeat("x", 76) + "\n", "dots": "." + strings.Repeat("x", 75) + "\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			piece := []byte(strings.Repeat(line, copySize/len(line)))
			out := output{to: io.Discard}
			out.widen()
			s := &stuffer{to: &out}
			b.SetBytes(int64(len(piece)))
			for b.Loop() {
				_, _ = s.Write(piece)
			}
		})
	}
}

// BenchmarkList is LIST of 100,000 messages.
func BenchmarkList(b *testing.B) {
	for _, verb := range []string{"LIST", "UIDL"} {
		b.Run(verb, func(b *testing.B) {
			s := &session{server: &Server{}, drop: &Login{Maildrop: flatDrop(100000)}, state: transaction}
			s.out.to = io.Discard
			b.ReportAllocs()
			for b.Loop() {
				if err := verbs[verb].run(s, context.Background(), args{}); err != nil {
					b.Fatal(err)
				}
				_ = s.out.flush()
			}
		})
	}
}

// flatDrop has so many messages of one size.
type flatDrop int

func (d flatDrop) Len() int                                        { return int(d) }
func (d flatDrop) Size(context.Context, int) (int64, error)        { return 4321, nil }
func (d flatDrop) UIDL(int) string                                 { return "0123456789abcdef0123456789abcdef" }
func (d flatDrop) Open(context.Context, int, int) (Content, error) { return nil, errBroken }
func (d flatDrop) Update(context.Context, []int) error             { return nil }
func (d flatDrop) Close() error                                    { return nil }

// BenchmarkNOOP is the cost of a pipelined command.
func BenchmarkNOOP(b *testing.B) {
	r := start(b, newFake(first), quiet)
	c := r.dialTCP().login()
	const batch = 1000
	commands, responses := strings.Repeat("NOOP\r\n", batch), int64(len("+OK\r\n")*batch)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%batch != 1 {
			continue
		}
		if _, err := io.WriteString(c.conn, commands); err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, c.r, responses); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdleSessions tells what a thousand sessions take that wait for their clients.
func BenchmarkIdleSessions(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(idleMemory(b, 1000)), "octets/session")
	}
}

// BenchmarkSession is a short visit: connect, log in, list, quit.
func BenchmarkSession(b *testing.B) {
	r := start(b, newFake(first, second), quiet)
	for b.Loop() {
		conn, err := net.Dial("tcp", r.tcp.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(conn, "USER bob\r\nPASS secret\r\nSTAT\r\nLIST\r\nUIDL\r\nQUIT\r\n"); err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			b.Fatal(err)
		}
		_ = conn.Close()
	}
}

// BenchmarkLoopback is what BenchmarkRETR could be at best on this machine: the same octets
// over the same kind of connection, without a protocol.
func BenchmarkLoopback(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	defer l.Close()
	sending.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for piece := make([]byte, largeOutput); err == nil; {
			_, err = conn.Write(piece)
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 256<<10)
	b.SetBytes(16 << 20)
	for b.Loop() {
		for left := 16 << 20; left > 0; {
			n, err := conn.Read(buf)
			if left -= n; err != nil {
				b.Fatal(err)
			}
		}
	}
}
