package corpus

import (
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
)

// Mailbox is a mailbox of ordinary mail for benchmarks: the sizes of its messages are
// log-normal with a median of 9 KB and a mean of 60 KB, as measured mailboxes are. The same
// seed gives the same mailbox.
type Mailbox struct {
	Seed     uint64
	Messages int
}

const (
	medianSize = 9_000
	meanSize   = 60_000
	// Sizes are cut off at both ends: nobody's header is smaller, and a benchmark whose time
	// is decided by its largest message says little.
	leastSize = 600
	mostSize  = 50_000_000
)

// Mail is one message of a mailbox.
type Mail struct {
	Number int   // 1 to Messages
	Size   int64 // octets
	seed   uint64
}

// All yields the messages, first to last.
func (m Mailbox) All() iter.Seq[Mail] {
	return func(yield func(Mail) bool) {
		r := rand.New(rand.NewPCG(m.Seed, 0x626f78))
		mu := math.Log(medianSize)
		sigma := math.Sqrt(2 * math.Log(float64(meanSize)/medianSize))
		for n := range m.Messages {
			size := math.Exp(mu + sigma*r.NormFloat64())
			mail := Mail{Number: n + 1, Size: int64(min(max(size, leastSize), mostSize)), seed: r.Uint64()}
			if !yield(mail) {
				return
			}
		}
	}
}

// Octets is the size of the whole mailbox.
func (m Mailbox) Octets() int64 {
	var sum int64
	for mail := range m.All() {
		sum += mail.Size
	}
	return sum
}

// Reader is the message: a header, then lines of text. It is made as it is read, so its size
// costs no memory.
func (m Mail) Reader() io.Reader {
	name := fmt.Sprintf("mail-%d-%016x", m.Number, m.seed)
	return Sized(name, m.Size)
}

// Sized is a message of exactly size octets (600 at the least), made as it is read: what a test
// of memory sends. Its lines are of 62 octets and CRLF; one in sixteen begins with a dot.
func Sized(name string, size int64) io.Reader {
	start := head(name) + "\r\n"
	return &sized{rest: []byte(start), left: max(size, leastSize) - int64(len(start)), random: source(name)}
}

// sized makes lines as they are wanted. rest is what is made and not read yet; left is what is
// still to be made.
type sized struct {
	rest   []byte
	left   int64
	random *rand.Rand
	line   [64]byte
}

func (s *sized) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(s.rest) == 0 && !s.next() {
			break
		}
		taken := copy(p[n:], s.rest)
		s.rest = s.rest[taken:]
		n += taken
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// next makes the next line, and says whether there is one.
func (s *sized) next() bool {
	if s.left <= 0 {
		return false
	}
	size := min(s.left, int64(len(s.line)))
	if s.left-size == 1 { // no line can be made of one octet
		size--
	}
	const letters = "abcdefghijklmnopqrstuvwxyz ,.-01"
	value := s.random.Uint64()
	for i := range size - 2 {
		s.line[i] = letters[(value>>(uint(i)%12*5)+uint64(i))&31]
	}
	if value>>60 == 0 && size > 2 {
		s.line[0] = '.'
	}
	s.line[size-2], s.line[size-1] = '\r', '\n'
	s.rest = s.line[:size]
	s.left -= size
	return true
}
