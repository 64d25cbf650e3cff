package tnef

import "github.com/dipylon/dipylon/backends/mapi"

// statusBits are the flags of attMessageStatus beside those of PidTagMessageFlags (MS-OXCMSG §2.2.1.6) for which they
// stand. What is modified in one is unmodified in the other.
var statusBits = []struct {
	status uint8
	flag   mapi.Integer32
}{
	{0x02, 0x08}, // fmsLocal, mfUnsent
	{0x04, 0x04}, // fmsSubmitted, mfSubmitted
	{0x20, 0x01}, // fmsRead, mfRead
	{0x80, 0x10}, // fmsHasAttach, mfHasAttach
}

const (
	fmsModified  uint8          = 0x01
	mfUnmodified mapi.Integer32 = 0x02
)

func flagsOfStatus(status uint8) mapi.Integer32 {
	var flags mapi.Integer32
	if status&fmsModified == 0 {
		flags |= mfUnmodified
	}
	for _, b := range statusBits {
		if status&b.status != 0 {
			flags |= b.flag
		}
	}
	return flags
}

func statusOfFlags(flags mapi.Integer32) uint8 {
	var status uint8
	if flags&mfUnmodified == 0 {
		status |= fmsModified
	}
	for _, b := range statusBits {
		if flags&b.flag != 0 {
			status |= b.status
		}
	}
	return status
}
