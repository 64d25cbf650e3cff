package rop

import (
	"errors"
	"fmt"
)

// Code is a ReturnValue, and what an Execute as a whole may fail with, MS-OXCDATA §2.4. It is an error.
type Code uint32

// The codes that callers decide by.
const (
	Success Code = 0
	// ProfileNotConfigured is that of a logon to another's mailbox that wants administrative access (MS-OXCSTOR §3.2.5.1.3).
	ProfileNotConfigured  Code = 0x0000011C
	UnknownUser           Code = 0x000003EB // no such mailbox
	LoginPerm             Code = 0x000003F2 // no access rights to the mailbox
	InTransit             Code = 0x0000050C // the mailbox is being moved
	MailboxDisabled       Code = 0x0000096C
	WrongServer           Code = 0x00000478 // the mailbox is on another server, which the reply of RopLogon names
	BufferTooSmall        Code = 0x0000047D // the replies do not fit
	ServerPaused          Code = 0x0000047F
	ServerBusy            Code = 0x00000480
	RPCFormat             Code = 0x000004B6 // the server cannot read the requests
	NullObject            Code = 0x000004B9 // no object has the handle: it was never opened, or it is released
	QuotaExceeded         Code = 0x000004D9
	MaxSubmissionExceeded Code = 0x000004DA // the message is larger than may be sent
	MaxAttachments        Code = 0x000004DB
	SendAsDenied          Code = 0x000004DC
	ShutoffQuotaExceeded  Code = 0x000004DD // the mailbox may neither send nor receive
	DestinationNull       Code = 0x00000503 // the object to move or copy to is not there
	TooBusy               Code = 0x000006BB // RPC_S_SERVER_TOO_BUSY
	ErrorsReturned        Code = 0x00040380 // a warning: some of the values are errors
	CancelMessage         Code = 0x00040580 // a warning: the transport has refused a recipient
	PartialCompletion     Code = 0x00040680 // a warning: not all messages were dealt with
	StreamAccess          Code = 0x80030005
	StreamSeek            Code = 0x80030019
	GeneralError          Code = 0x80004005
	NotSupported          Code = 0x80040102
	ObjectChanged         Code = 0x80040109 // somebody else has changed the message
	ObjectDeleted         Code = 0x8004010A
	Busy                  Code = 0x8004010B
	NotFound              Code = 0x8004010F
	LogonFailed           Code = 0x80040111
	TooComplex            Code = 0x80040117
	PasswordMustSet       Code = 0x80040118 // the password has to be changed first
	PasswordExpired       Code = 0x80040119
	AccountDisabled       Code = 0x8004011C
	NoRecipients          Code = 0x80040607
	DuplicateName         Code = 0x80040604
	NotInQueue            Code = 0x80040601
	NotInitialized        Code = 0x80040605
	NotImplemented        Code = 0x80040FFF
	AccessDenied          Code = 0x80070005
	NotEnoughMemory       Code = 0x8007000E // as a value: it is too large for a row, and must be read as a stream
	InvalidParameter      Code = 0x80070057
)

var codeTexts = map[Code]string{
	ProfileNotConfigured: "the mailbox is opened with administrative access alone", LoginPerm: "no access rights to the mailbox",
	InTransit: "the mailbox is being moved", MailboxDisabled: "the mailbox is disabled",
	Success: "success", UnknownUser: "there is no such mailbox", WrongServer: "the mailbox is on another server",
	BufferTooSmall: "the replies do not fit in the buffer", ServerPaused: "the server is paused", ServerBusy: "the server is busy",
	RPCFormat: "the server cannot read the requests", NullObject: "no object has that handle", QuotaExceeded: "the quota is exceeded",
	MaxAttachments: "too many attachments", MaxSubmissionExceeded: "the message is larger than may be sent",
	SendAsDenied: "sending as somebody else is not allowed", ShutoffQuotaExceeded: "the mailbox is full",
	DestinationNull: "the destination is not there", TooBusy: "the server is too busy",
	ErrorsReturned: "some values are errors", CancelMessage: "the transport has refused a recipient",
	PartialCompletion: "not all of it was done", StreamAccess: "the stream cannot be written", StreamSeek: "the place is outside of the stream",
	GeneralError: "the operation failed", NotSupported: "not supported by this object", ObjectChanged: "the object was changed meanwhile",
	ObjectDeleted: "the object was deleted", Busy: "the object is busy", NotFound: "not found", LogonFailed: "the logon failed",
	PasswordMustSet: "the password has to be changed first", PasswordExpired: "the password has expired", AccountDisabled: "the account is disabled",
	TooComplex: "too complex", NoRecipients: "the message has no recipients", DuplicateName: "the name is taken",
	NotInQueue: "the message is not in the queue", NotInitialized: "not initialized", NotImplemented: "not implemented",
	AccessDenied: "access is denied", NotEnoughMemory: "out of memory, or too large", InvalidParameter: "a parameter is not valid",
}

// Error returns what the code means, and its number.
func (c Code) Error() string {
	if text, ok := codeTexts[c]; ok {
		return fmt.Sprintf("%s (0x%08x)", text, uint32(c))
	}
	return fmt.Sprintf("error 0x%08x", uint32(c))
}

// Warning says whether the operation was done, with a remark: the upper bit of an error is set, or all of its upper half is 0.
func (c Code) Warning() bool { return c != Success && c>>31 == 0 && c>>16 != 0 }

// Error is the failure of an operation. errors.Is finds its code.
type Error struct {
	Op   ID
	Code Code
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Op, e.Code) }

// Unwrap returns the code.
func (e *Error) Unwrap() error { return e.Code }

// ErrUnanswered is that of a reply that has not come: its batch was not sent, or not answered to its end.
var ErrUnanswered = errors.New("rop: the operation was not answered")
