package pop3

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
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
				fake := newFake(message)
				r := start(b, fake, func(s *Server) { quiet(s); withTLS(s) })
				c := r.dialTCP()
				c.expect("+OK…")
				if secure {
					c.stls()
				}
				c.do("USER bob", "+OK…")
				c.do("PASS secret", "+OK…")
				response := int64(len(fmt.Sprintf("+OK %d octets\r\n", len(message))) + len(message) + len(".\r\n"))
				b.SetBytes(int64(len(message)))
				for b.Loop() {
					if _, err := io.WriteString(c.conn, "RETR 1\r\n"); err != nil {
						b.Fatal(err)
					}
					if _, err := io.CopyN(io.Discard, c.r, response); err != nil {
						b.Fatal(err)
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
			s := &session{server: &Server{}, drop: flatDrop(100000), state: transaction, total: -1}
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
