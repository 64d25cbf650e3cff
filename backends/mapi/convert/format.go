package convert

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
	"github.com/dipylon/dipylon/backends/mapi"
)

// Format is a form of a message.
type Format string

// The forms of messages.
const (
	EML          Format = "eml"  // Internet mail, RFC 5322
	TNEF         Format = "tnef" // MS-OXTNEF, as in winmail.dat
	FastTransfer Format = "fx"   // a FastTransfer stream, MS-OXCFXICS §2.2.4
	Dump         Format = "json" // the properties, as mapi.WriteDump has them
	MSG          Format = "msg"  // Outlook's file, MS-OXMSG: it is only read
)

var byEnding = map[string]Format{
	".eml": EML, ".tnef": TNEF, ".fx": FastTransfer, ".json": Dump, ".msg": MSG,
}

// errFormat says what formats there are.
var errFormat = errors.New("the formats are eml, tnef, fx, json, and msg to read")

// ParseFormat returns the format of a name such as "eml".
func ParseFormat(name string) (Format, error) {
	if f, ok := byEnding["."+name]; ok {
		return f, nil
	}
	return "", fmt.Errorf("%q is no format: %w", name, errFormat)
}

// FormatOfFile returns the format that the name of a file says: by its ending, or winmail.dat.
func FormatOfFile(name string) (Format, bool) {
	name = strings.ToLower(filepath.Base(name))
	if name == "winmail.dat" {
		return TNEF, true
	}
	f, ok := byEnding[filepath.Ext(name)]
	return f, ok
}

// HeadSize is how many octets Detect looks at.
const HeadSize = 4096

// Beginnings of the formats that have one of their own.
var (
	tnefBegins     = []byte{0x78, 0x9F, 0x3E, 0x22}
	compoundBegins = []byte{0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1}
	// headerBegins is a header field, or the line that mbox files and some programs put in front (RFC 4155).
	headerBegins = lazyregexp.New(`\A(?:From |[!-9;-~]{1,76}[ \t]*:)`)
)

// Detect returns the format of a message that begins with head.
func Detect(head []byte) (Format, bool) {
	blank := bytes.TrimLeft(head, "\ufeff \t\r\n")
	switch {
	case bytes.HasPrefix(head, tnefBegins):
		return TNEF, true
	case bytes.HasPrefix(head, compoundBegins):
		return MSG, true
	case isFastTransfer(head):
		return FastTransfer, true
	case bytes.HasPrefix(blank, []byte("{")):
		return Dump, true
	case headerBegins.Match(blank):
		return EML, true
	}
	return "", false
}

// isFastTransfer says whether octets begin with a marker of a message, or with a property, MS-OXCFXICS §2.2.4.1.
func isFastTransfer(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	tag := mapi.Tag(binary.LittleEndian.Uint32(head))
	if tag == mapi.PidTagStartMessage || tag == mapi.PidTagStartFAIMsg {
		return true
	}
	_, err := mapi.ParseType(tag.Type().String())
	return err == nil && tag.ID() != 0 && tag.Type() != mapi.PtypUnspecified
}
