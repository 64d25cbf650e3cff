package maildir

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// mostName is how long a file's name may be, in octets, on all file systems that matter.
const mostName = 255

// boxDir is where an account's mail is: <root>/<domain>/<local part>. Whatever could mean
// something to a file system (a slash, a leading dot, a NUL, …) is percent-encoded in the
// local part, so that two accounts never share a folder and none leaves the root.
func boxDir(root string, a address) string {
	domain, local := a.domain, encodeLocal(a.local)
	if runtime.GOOS == "windows" { // elsewhere they are names like any other, and folders have them
		domain, local = noDevice(domain), noDevice(local)
	}
	return filepath.Join(root, domain, local)
}

// noDevice encodes the first letter of a name that Windows takes for a device, whatever stands
// behind a dot. The digits in superscript that it knows as well are encoded already.
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file
func noDevice(name string) string {
	base, _, _ := strings.Cut(name, ".")
	switch base {
	case "con", "prn", "aux", "nul":
	default:
		number, ok := strings.CutPrefix(base, "com")
		if !ok {
			number, ok = strings.CutPrefix(base, "lpt")
		}
		if !ok || len(number) != 1 || number[0] < '0' || number[0] > '9' {
			return name
		}
	}
	return fmt.Sprintf("%%%02x", name[0]) + name[1:]
}

func encodeLocal(local string) string {
	var b strings.Builder
	for i, c := range []byte(local) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("_+=-~", c) >= 0,
			c == '.' && i > 0 && i < len(local)-1:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

var errFolderName = errors.New("a folder cannot have this name")

// folderDir is a folder's name inside a mailbox as Maildir++ has it: ".Sub.Folder" for
// "Sub/Folder", each part in modified UTF-7 (RFC 3501 §5.1.3). The inbox is "".
func folderDir(folder string) (string, error) {
	if folder == "" || strings.EqualFold(folder, "INBOX") {
		return "", nil
	}
	return joinParts(folder, modifiedUTF7)
}

// folderDirUTF8 is folderDir with plain UTF-8, as Dovecot can be set to.
func folderDirUTF8(folder string) (string, error) {
	return joinParts(folder, func(s string) string { return s })
}

func joinParts(folder string, encode func(string) string) (string, error) {
	var b strings.Builder
	for part := range strings.SplitSeq(folder, "/") {
		// A dot parts the levels on the disk, so no part can hold one.
		if part == "" || strings.ContainsAny(part, `.\`) || !utf8.ValidString(part) ||
			strings.ContainsFunc(part, unicode.IsControl) {
			return "", errFolderName
		}
		b.WriteByte('.')
		b.WriteString(encode(part))
	}
	if b.Len() > mostName {
		return "", errFolderName
	}
	return b.String(), nil
}

// modifiedBase64 is base64 with "," for "/" and no padding.
var modifiedBase64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding)

// modifiedUTF7 encodes a mailbox name. RFC 3501 §5.1.3.
func modifiedUTF7(name string) string {
	var b strings.Builder
	var run []rune // of characters that need encoding
	end := func() {
		if len(run) == 0 {
			return
		}
		units := utf16.Encode(run)
		raw := make([]byte, 0, 2*len(units))
		for _, u := range units {
			raw = append(raw, byte(u>>8), byte(u))
		}
		b.WriteString("&" + modifiedBase64.EncodeToString(raw) + "-")
		run = run[:0]
	}
	for _, r := range name {
		if r < ' ' || r > '~' {
			run = append(run, r)
			continue
		}
		end()
		b.WriteRune(r)
		if r == '&' {
			b.WriteByte('-')
		}
	}
	end()
	return b.String()
}
