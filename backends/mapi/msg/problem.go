package msg

import (
	"errors"
	"fmt"
)

// Problem is something about a file that is not as MS-OXMSG has it.
type Problem struct {
	Where string // the storages and the stream, such as __attach_version1.0_#00000000/__substg1.0_37010102
	Err   error
	// Lost says that something of the message could not be had.
	Lost bool
}

func (p *Problem) Error() string { return fmt.Sprintf(".msg, %s: %v", p.Where, p.Err) }

func (p *Problem) Unwrap() error { return p.Err }

// What a [Problem] can be, and what is wrong with a file that cannot be read at all. What lies too deep is [mapi.ErrDepth].
var (
	// ErrNotMSG says that the file is no message of Outlook's.
	ErrNotMSG = errors.New("no .msg file: it is no compound file with __properties_version1.0 in it")
	// ErrMalformed says that something is not as it should be.
	ErrMalformed = errors.New("malformed")
	// ErrMissing says that a stream is not there.
	ErrMissing = errors.New("the stream is missing")
	// ErrNoName says that a named property has no name in the file: its number alone means nothing.
	ErrNoName = errors.New("a named property without a name")
	// ErrObject says that an OLE object is a storage, not a stream.
	ErrObject = errors.New("an OLE object as a storage is not read")
	// ErrTooMuch says that there is so much in a file, other than large values and the data of attachments, that it is not kept.
	ErrTooMuch = fmt.Errorf("what is kept in memory would be more than %d MiB, or than %d streams", memoryMost>>20, entriesMost)
)

// problemsMost is how many problems are told of. Those that are too many are counted.
const problemsMost = 100
