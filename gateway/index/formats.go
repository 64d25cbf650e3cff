package index

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// exportHeader is the first line of a file that [Write] makes.
const exportHeader = "# Dipylon unique-ids 1: unique-id, size, digest of the header, Message-ID"

const lineMost = 4096

// Write writes what clients know of a maildrop: a line for each message, of fields that a tab
// parts. [Read] reads it.
func Write(w io.Writer, imports []Import) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, exportHeader)
	for _, i := range imports {
		if err := i.check(); err != nil {
			return err
		}
		digest := ""
		if i.Digested {
			digest = hex.EncodeToString(i.Digest[:])
		}
		fmt.Fprintf(out, "%s\t%d\t%s\t%s\n", i.UIDL, i.Size, digest, i.MessageID)
	}
	return out.Flush()
}

// Read reads what [Write] has written.
func Read(r io.Reader) ([]Import, error) {
	first := true
	return lines(r, func(line string) (*Import, error) {
		if first {
			first = false
			if line != exportHeader {
				return nil, errors.New("this is no export of Dipylon's")
			}
			return nil, nil
		}
		field := strings.Split(line, "\t")
		if len(field) != 4 {
			return nil, fmt.Errorf("there are %d fields, not 4", len(field))
		}
		i := &Import{UIDL: field[0], MessageID: field[3]}
		var err error
		if i.Size, err = strconv.ParseInt(field[1], 10, 64); err != nil || i.Size < -1 {
			return nil, fmt.Errorf("%q is not a size", field[1])
		}
		if i.Digested = field[2] != ""; i.Digested {
			digest, err := hex.DecodeString(field[2])
			if err != nil || len(digest) != len(i.Digest) {
				return nil, fmt.Errorf("%q is not a digest", field[2])
			}
			copy(i.Digest[:], digest)
		}
		return i, nil
	})
}

// ReadPlain reads lines of a message's name, a tab, and its unique-id. A name in angle brackets
// is a Message-ID, another one the id that the new store has for the message.
func ReadPlain(r io.Reader) ([]Import, error) {
	return lines(r, func(line string) (*Import, error) {
		name, uidl, ok := strings.Cut(line, "\t")
		if !ok {
			return nil, errors.New("there is no tab")
		}
		i := &Import{UIDL: uidl, Size: -1}
		if strings.HasPrefix(name, "<") {
			i.MessageID = cleanMessageID(name)
		} else {
			i.ID = name
		}
		return i, nil
	})
}

// exchangeLength is of an Exchange unique-id: a message id of 64 bits and a GUID (KB Q161116).
const exchangeLength = 24

// ReadExchange is ReadPlain for what Exchange's POP3 service has told, base64 of message id and
// GUID: other unique-ids are refused.
func ReadExchange(r io.Reader) ([]Import, error) {
	imports, err := ReadPlain(r)
	for n, i := range imports {
		if octets, e := base64.StdEncoding.DecodeString(i.UIDL); err == nil && (e != nil || len(octets) != exchangeLength) {
			err = fmt.Errorf("the %d. unique-id, %q, is not one of Exchange's", n+1, i.UIDL)
		}
	}
	return imports, err
}

// lines reads a file line by line. Empty lines are left out.
func lines(r io.Reader, f func(line string) (*Import, error)) (imports []Import, err error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, lineMost)
	for n := 1; s.Scan(); n++ {
		if s.Text() == "" {
			continue
		}
		i, err := f(strings.TrimSuffix(s.Text(), "\r"))
		if err == nil && i != nil {
			err = i.check()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if i != nil {
			imports = append(imports, *i)
		}
	}
	return imports, s.Err()
}

// ReadDovecot reads a dovecot-uidlist file of version 3. A message has the unique-id that the
// file has for it (P, as pop3_uidl_format=%f or a migration to Dovecot has left it), or else the
// one that form makes of UID and UIDVALIDITY.
//
// The messages are those of a Maildir. Where folder is its path, they are recognised by their
// headers; where it is empty, by their names, which are the ids of a Maildir store.
func ReadDovecot(r io.Reader, folder string, form func(uid, validity uint32) string) ([]Import, error) {
	names, err := maildirNames(folder)
	if err != nil {
		return nil, err
	}
	validity, first := uint32(0), true
	return lines(r, func(line string) (*Import, error) {
		if first {
			first = false
			validity, err = uidValidity(line)
			return nil, err
		}
		i, err := dovecotLine(line, validity, form)
		if err != nil || folder == "" {
			return i, err
		}
		name, there := names[i.ID]
		if !there {
			return nil, nil // the message is gone
		}
		return i, i.look(name)
	})
}

// uidValidity is in the first line: "3 V1698307852 N44 G…".
func uidValidity(line string) (uint32, error) {
	fields := strings.Fields(line)
	if len(fields) > 0 && fields[0] == "3" {
		for _, f := range fields[1:] {
			if number, ok := strings.CutPrefix(f, "V"); ok {
				v, err := strconv.ParseUint(number, 10, 32)
				return uint32(v), err
			}
		}
	}
	return 0, errors.New("this is no dovecot-uidlist of version 3")
}

// dovecotLine reads "43 Pold W1234 :1700000000.M1P2.host".
func dovecotLine(line string, validity uint32, form func(uid, validity uint32) string) (*Import, error) {
	head, name, ok := strings.Cut(line, " :")
	fields := strings.Fields(head)
	if !ok || len(fields) == 0 {
		return nil, errors.New("there is no file name")
	}
	uid, err := strconv.ParseUint(fields[0], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%q is not a UID", fields[0])
	}
	i := &Import{UIDL: form(uint32(uid), validity), Size: -1}
	i.ID, _, _ = strings.Cut(name, ":") // without flags
	for _, f := range fields[1:] {
		switch f[0] {
		case 'P':
			i.UIDL = f[1:]
		case 'W': // the size with CRLF
			if size, err := strconv.ParseInt(f[1:], 10, 64); err == nil && size >= 0 {
				i.Size = size
			}
		}
	}
	return i, nil
}

// maildirNames gives the files of a Maildir by their names without flags.
func maildirNames(folder string) (map[string]string, error) {
	names := make(map[string]string)
	if folder == "" {
		return names, nil
	}
	for _, sub := range []string{"new", "cur"} {
		files, err := os.ReadDir(filepath.Join(folder, sub))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			base, _, _ := strings.Cut(f.Name(), ":")
			names[base] = filepath.Join(folder, sub, f.Name())
		}
	}
	return names, nil
}

// ReadCyrus reads a folder of Cyrus's spool, whose messages are files named by their UIDs
// ("43."). Unique-ids are what form makes of UID and UIDVALIDITY.
func ReadCyrus(folder string, validity uint32, form func(uid, validity uint32) string) (imports []Import, err error) {
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		number, ok := strings.CutSuffix(f.Name(), ".")
		uid, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil {
			continue // cyrus.index and others
		}
		i := Import{UIDL: form(uint32(uid), validity), Size: -1}
		if err := i.look(filepath.Join(folder, f.Name())); err != nil {
			return nil, err
		}
		imports = append(imports, i)
	}
	return imports, nil
}

// look takes the fingerprint of a message in a file in place of its id.
func (i *Import) look(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the message %s went away meanwhile", name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	seen, err := FingerprintOf(f)
	if err != nil {
		return err
	}
	i.ID, i.MessageID, i.Digest, i.Digested = "", seen.MessageID, seen.Digest, true
	if i.Size < 0 {
		i.Size, err = sizeOf(f)
	}
	return err
}

// sizeOf is a message's size with each line's end as CRLF.
func sizeOf(f *os.File) (size int64, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(f, 64<<10)
	for {
		part, err := in.ReadSlice('\n')
		size += int64(len(part))
		if bytes.HasSuffix(part, []byte("\n")) && !bytes.HasSuffix(part, []byte("\r\n")) {
			size++
		}
		switch {
		case errors.Is(err, io.EOF):
			return size, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return 0, err
		}
	}
}
