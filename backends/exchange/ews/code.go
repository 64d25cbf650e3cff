package ews

import (
	"fmt"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Code is a response code, MS-OXWSCDATA §2.2.5.24 (ResponseCodeType).
type Code string

// noError is the code of success.
const noError Code = "NoError"

// Codes that something depends on.
const (
	ItemNotFound         Code = "ErrorItemNotFound"
	ServerBusy           Code = "ErrorServerBusy"
	BatchStopped         Code = "ErrorBatchProcessingStopped"
	NoResults            Code = "ErrorNameResolutionNoResults"
	MultipleResults      Code = "ErrorNameResolutionMultipleResults"
	InvalidServerVersion Code = "ErrorInvalidServerVersion"
	IncorrectSchema      Code = "ErrorIncorrectSchemaVersion"
	SchemaValidation     Code = "ErrorSchemaValidation"
	ImpersonateDenied    Code = "ErrorImpersonateUserDenied"
	InvalidSyncState     Code = "ErrorInvalidSyncStateData"
)

// kinds are the kinds of failure that codes stand for. What is not here is temporary.
var kinds = map[Code]backends.Kind{
	ItemNotFound:                               backends.NotFound,
	"ErrorFolderNotFound":                      backends.NotFound,
	"ErrorParentFolderNotFound":                backends.NotFound,
	"ErrorToFolderNotFound":                    backends.NotFound,
	"ErrorSavedItemFolderNotFound":             backends.NotFound,
	"ErrorSyncFolderNotFound":                  backends.NotFound,
	"ErrorInvalidId":                           backends.NotFound,
	"ErrorInvalidIdEmpty":                      backends.NotFound,
	"ErrorInvalidIdMalformed":                  backends.NotFound,
	"ErrorInvalidIdMalformedEwsLegacyIdFormat": backends.NotFound,
	"ErrorInvalidIdXml":                        backends.NotFound,
	"ErrorMailRecipientNotFound":               backends.NotFound,
	NoResults:                                  backends.NotFound,

	"ErrorAccessDenied":                     backends.Permanent,
	"ErrorCannotUseDelegateAccess":          backends.Permanent,
	"ErrorCreateItemAccessDenied":           backends.Permanent,
	"ErrorCannotDeleteObject":               backends.Permanent,
	"ErrorSendAsDenied":                     backends.Permanent,
	ImpersonateDenied:                       backends.Permanent,
	"ErrorImpersonationDenied":              backends.Permanent,
	"ErrorImpersonationFailed":              backends.Permanent,
	"ErrorNonPrimarySmtpAddress":            backends.Permanent,
	"ErrorNonExistentMailbox":               backends.Permanent,
	"ErrorMissingEmailAddress":              backends.Permanent,
	"ErrorInvalidSmtpAddress":               backends.Permanent,
	"ErrorInvalidRecipients":                backends.Permanent,
	"ErrorMissingRecipients":                backends.Permanent,
	"ErrorMimeContentInvalid":               backends.Permanent,
	"ErrorMimeContentInvalidBase64String":   backends.Permanent,
	"ErrorUnsupportedMimeConversion":        backends.Permanent,
	"ErrorSendMeetingCancellationsRequired": backends.Permanent,
	"ErrorAffectedTaskOccurrencesRequired":  backends.Permanent,
	"ErrorProxyRequestNotAllowed":           backends.Permanent,
	"ErrorInvalidRequest":                   backends.Permanent,
	SchemaValidation:                        backends.Permanent,

	"ErrorPasswordExpired":        backends.PasswordExpired,
	"ErrorPasswordChangeRequired": backends.PasswordExpired,
	"ErrorAccountDisabled":        backends.AccountDisabled,
	"ErrorCrossSiteRequest":       backends.MailboxMoved,

	"ErrorQuotaExceeded":               backends.OverQuota,
	"ErrorMessageSizeExceeded":         backends.TooLarge,
	"ErrorAttachmentSizeLimitExceeded": backends.TooLarge,

	ServerBusy:                     backends.Throttled,
	"ErrorExceededConnectionCount": backends.Throttled,
	"ErrorExceededFindCountLimit":  backends.Throttled,
	"ErrorTooManyObjectsOpened":    backends.Throttled,
	"ErrorInsufficientResources":   backends.Throttled,

	"ErrorContentConversionFailed":     backends.Poison,
	"ErrorMimeContentConversionFailed": backends.Poison,
	"ErrorCorruptData":                 backends.Poison,
	"ErrorItemCorrupt":                 backends.Poison,

	"ErrorInvalidOperation": backends.Unsupported,
	InvalidServerVersion:    backends.Unsupported,
	IncorrectSchema:         backends.Unsupported,
}

// Error is what a server has said of an operation, or of one item of it.
type Error struct {
	Operation string
	Code      Code
	Text      string
	// BackOff is how long not to ask again; 0: the server does not say.
	BackOff time.Duration
}

func (e *Error) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%s: %s", e.Operation, e.Code)
	}
	return fmt.Sprintf("%s: %s: %.300q", e.Operation, e.Code, e.Text)
}

// failure is the failure that an error is.
func (e *Error) failure() *backends.Failure {
	kind, known := kinds[e.Code]
	if !known {
		kind = backends.Temporary
	}
	if e.BackOff > 0 && kind == backends.Temporary {
		kind = backends.Throttled
	}
	f := backends.Fail(kind, "%w", e)
	if e.Code == "ErrorSendAsDenied" {
		f = f.WithCode("5.7.1").Say("this login may not send as that address")
	}
	if e.BackOff > 0 {
		f = f.After(e.BackOff)
	}
	return f
}
