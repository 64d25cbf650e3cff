package tnef

import (
	"errors"
	"fmt"
)

// Problem is something about a stream that is not as MS-OXTNEF has it.
type Problem struct {
	Offset    int64     // in the file, also where it is in an embedded message
	Attribute Attribute // in which it is; 0 where it is in none
	Err       error
	// Lost says that something of the message could not be had.
	Lost bool
}

func (p *Problem) Error() string {
	if p.Attribute == 0 {
		return fmt.Sprintf("TNEF, octet %d: %v", p.Offset, p.Err)
	}
	return fmt.Sprintf("TNEF, octet %d, %s: %v", p.Offset, p.Attribute, p.Err)
}

func (p *Problem) Unwrap() error { return p.Err }

// What a [Problem] can be. What is cut off is [io.ErrUnexpectedEOF], and what lies too deep is [mapi.ErrDepth].
var (
	// ErrNotTNEF says that the octets do not begin as a stream does.
	ErrNotTNEF = errors.New("no TNEF stream: it does not begin with 78 9f 3e 22")
	// ErrChecksum says that a checksum is wrong or missing. The data are taken.
	ErrChecksum = errors.New("the checksum does not fit the data")
	// ErrUnknown says that an attribute is not known.
	ErrUnknown = errors.New("an unknown attribute")
	// ErrOrder says that an attribute is not where it belongs. It is taken.
	ErrOrder = errors.New("not where it belongs")
	// ErrGarbage says that something is behind the last attribute that is no attribute.
	ErrGarbage = errors.New("no attribute")
	// ErrMalformed says that the data of an attribute are not as they should be.
	ErrMalformed = errors.New("malformed")
	// ErrTooMuch says that a message has so much in it, other than the data of attachments, that it is not kept.
	ErrTooMuch = fmt.Errorf("what is kept in memory would be more than %d MiB", memoryMost>>20)
)

// problemsMost is how many problems are told of. Those that are too many are counted.
const problemsMost = 100
