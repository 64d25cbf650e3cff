package kerberos

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Verdict is what a KDC has said of a password, if anything.
type Verdict uint8

// The verdicts.
const (
	// NoVerdict: the password was not judged. Kerberos cannot be used for this user, this service or now.
	NoVerdict Verdict = iota
	// Wrong: the password is.
	Wrong
	// Expired: the password was right, and must be changed first.
	Expired
	// Revoked: the account is locked, disabled or expired. Nobody has looked at the password.
	Revoked
	// Unknown: the realm has no such user.
	Unknown
)

// Error is what a KDC says instead of giving a ticket (RFC 4120 §5.9.1), or why none could be asked.
type Error struct {
	Verdict Verdict
	// Code is KRB-ERROR's error-code; 0: there was none.
	Code int32
	// Status is the NTSTATUS that Windows tells with it (MS-KILE §2.2.1); 0: none.
	Status uint32

	cause error
}

func (e *Error) Error() string {
	switch {
	case e.Status != 0:
		return fmt.Sprintf("%v (NTSTATUS 0x%08X)", e.cause, e.Status)
	default:
		return e.cause.Error()
	}
}

func (e *Error) Unwrap() error { return e.cause }

// verdicts of error codes, RFC 4120 §7.5.9.
var verdicts = map[int32]Verdict{
	errorcode.KDC_ERR_PREAUTH_FAILED:      Wrong,
	errorcode.KDC_ERR_KEY_EXPIRED:         Expired,
	errorcode.KDC_ERR_CLIENT_REVOKED:      Revoked,
	errorcode.KDC_ERR_NAME_EXP:            Revoked,
	errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN: Unknown,
}

// hints say what to do about an error code.
var hints = map[int32]string{
	errorcode.KRB_AP_ERR_SKEW:             "the clocks of this machine and of the KDC differ by more than five minutes",
	errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN: `no account has the service's name: set it (setspn), or "spn"`,
	errorcode.KDC_ERR_ETYPE_NOSUPP:        "the account has no AES key: change its password once, or allow AES for it",
	errorcode.KDC_ERR_WRONG_REALM:         `the user is in another realm: see "realm"`,
	errorcode.KDC_ERR_KEY_EXPIRED:         "the password has expired",
	errorcode.KDC_ERR_CLIENT_REVOKED:      "the account is locked, disabled or expired",
	errorcode.KDC_ERR_NAME_EXP:            "the account has expired",
	errorcode.KRB_AP_ERR_MODIFIED:         "another account has the service's name than the one that it runs by",
	errorcode.KRB_AP_ERR_BADKEYVER:        "the service's key was changed, and it has the old one",
	errorcode.KRB_AP_ERR_REPEAT:           "it takes the login for one that it has seen before",
}

// newError makes an error of a KDC's, or of a service's. What it says in words is left out: it may be anything.
func newError(who string, e messages.KRBError) *Error {
	made := &Error{Verdict: verdicts[e.ErrorCode], Code: e.ErrorCode, Status: status(e.EData)}
	text := fmt.Sprintf("%s says %s", who, errorcode.Lookup(e.ErrorCode))
	if hint := hints[e.ErrorCode]; hint != "" {
		text += ": " + hint
	}
	made.cause = errors.New(text)
	return made
}

// without is an error for which no KDC was asked, or none that could tell.
func without(format string, args ...any) *Error {
	return &Error{cause: fmt.Errorf(format, args...)}
}

// status finds the NTSTATUS in an e-data: KERB-EXT-ERROR (MS-KILE §2.2.1) in KERB-ERROR-DATA or in METHOD-DATA, which look alike.
func status(data []byte) uint32 {
	const extended = 3 // KERB_ERR_TYPE_EXTENDED, and PA-PW-SALT
	var all types.PADataSequence
	if err := all.Unmarshal(data); err != nil {
		var one types.PAData
		if err := one.Unmarshal(data); err != nil {
			return 0
		}
		all = types.PADataSequence{one}
	}
	for _, one := range all {
		if one.PADataType == extended && len(one.PADataValue) == 12 {
			return binary.LittleEndian.Uint32(one.PADataValue)
		}
	}
	return 0
}
