package maildir

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A message's file name is <base>, or <base>:2,<flags> once a program has looked at it. The
// base is its identity: no program changes it as long as the message lives in its folder.
//
//	1764000000.M123456P789Q12_8v3k5m….host,S=2048,W=2101
//
// says when the message came (seconds, microseconds), which process took it, the how-manieth
// it was, the delivery's key, the host, the octets of the file (S) and of the canonical form (W).

// otherSeparators stand between base name and flags where a colon cannot be in a file name, and in
// what was copied from there. Without "2," behind it such a character is one of the name.
var otherSeparators = []string{";2,", "!2,"}

// infoAt is where the flags begin, with their separator; the name's length: there are none.
func infoAt(name string) int {
	at := len(name)
	if i := strings.IndexByte(name, infoSeparator); i >= 0 {
		at = i
	}
	for _, separator := range otherSeparators {
		if i := strings.Index(name[:at], separator); i >= 0 {
			at = i
		}
	}
	return at
}

// baseOf is the name without flags.
func baseOf(name string) string { return name[:infoAt(name)] }

// flagsOf are the flags of a name, in the order of the alphabet.
func flagsOf(name string) string {
	at := infoAt(name)
	if at == len(name) {
		return ""
	}
	flags, ok := strings.CutPrefix(name[at+1:], "2,")
	if !ok {
		return ""
	}
	flags, _, _ = strings.Cut(flags, ",") // some programs add fields of their own
	return flags
}

// withFlag is the name that a message has in cur with one more flag.
func withFlag(name string, flag byte) string {
	flags := flagsOf(name)
	at := 0
	for at < len(flags) && flags[at] < flag {
		at++
	}
	if at == len(flags) || flags[at] != flag {
		flags = flags[:at] + string(rune(flag)) + flags[at:]
	}
	separator := string(infoSeparator)
	if i := infoAt(name); i < len(name) {
		separator = name[i : i+1] // another program expects its own
	}
	return baseOf(name) + separator + "2," + flags
}

// arrived is when a message came as its name has it, in microseconds since 1970; 0: the name
// does not say.
func arrived(base string) int64 {
	seconds, rest, ok := digits(base)
	if !ok || !strings.HasPrefix(rest, ".") || seconds > 1<<40 {
		return 0
	}
	micros := int64(0)
	if strings.HasPrefix(rest, ".M") {
		if m, _, ok := digits(rest[2:]); ok && m < 1e6 {
			micros = m
		}
	}
	return seconds*1e6 + micros
}

// digits reads the number that a string starts with.
func digits(s string) (n int64, rest string, ok bool) {
	i := 0
	for i < len(s) && i < 18 && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + int64(s[i]-'0')
		i++
	}
	return n, s[i:], i > 0 && (i == len(s) || s[i] < '0' || s[i] > '9')
}

// field is the number behind ",S=" or ",W=" in a base name.
func field(base, mark string) (int64, bool) {
	_, after, found := strings.Cut(base, mark)
	if !found {
		return 0, false
	}
	n, rest, ok := digits(after)
	return n, ok && (rest == "" || rest[0] == ',')
}

func storedSize(base string) (int64, bool)    { return field(base, ",S=") }
func canonicalSize(base string) (int64, bool) { return field(base, ",W=") }

// keyLength is how long a delivery's key is in a name.
const keyLength = 26

var keyEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// keyMark is a delivery's key as it stands in a name: 128 bits of its hash, for a key may hold
// what a name may not.
func keyMark(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "_" + strings.ToLower(keyEncoding.EncodeToString(sum[:16])) + "."
}

// isOurs says whether this package named the file: then its W= is what it serves.
func isOurs(base string) bool {
	_, after, ok := strings.Cut(base, "_")
	if !ok || len(after) <= keyLength || after[keyLength] != '.' {
		return false
	}
	for _, c := range []byte(after[:keyLength]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return false
		}
	}
	return true
}

// namer makes unique names (https://cr.yp.to/proto/maildir.html).
type namer struct {
	host string
	pid  int
	now  func() time.Time
	n    atomic.Uint64
}

func newNamer(host string, now func() time.Time) *namer {
	if name, err := os.Hostname(); err == nil && name != "" {
		host = name // of this machine, where several may share the gateway's name
	}
	safe := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, host)
	if safe == "" {
		safe = "localhost"
	}
	return &namer{host: safe[:min(len(safe), 64)], pid: os.Getpid(), now: now}
}

// unique is a name without sizes.
func (n *namer) unique(key string) string {
	now := n.now()
	return fmt.Sprintf("%d.M%06dP%dQ%d%s%s", now.Unix(), now.Nanosecond()/1000, n.pid, n.n.Add(1), keyMark(key), n.host)
}

// sized is a unique name with the sizes that are known once the file is written.
func sized(unique string, stored, canonical int64) string {
	return unique + ",S=" + strconv.FormatInt(stored, 10) + ",W=" + strconv.FormatInt(canonical, 10)
}

// hasFlag says whether a name has a flag.
func hasFlag(name string, flag byte) bool { return strings.IndexByte(flagsOf(name), flag) >= 0 }
