package backends

import "time"

// Warner is a store that knows what will stop it some day, or stops it in part now: secrets and certificates that end, tokens
// that it cannot get. The gateway asks with each health check, and tells the administrator (dipylon status).
type Warner interface {
	// Warnings are all things that end some day, those of next year, too, and what is wrong now. It does not wait.
	Warnings() []Warning
}

// WarningsMost bounds the warnings of one store; what is beyond is left out.
const WarningsMost = 100

// Warning is one such thing. Its texts are for the administrator; no secret stands in them.
type Warning struct {
	// Name names it within the store, the same one as long as it lasts: 1 to 64 lower case letters, digits and hyphens.
	Name string
	Kind WarningKind
	// Text says what is wrong or about to be, in some words without the day: "the client secret of the application ends".
	// Advice says what to do about it.
	Text, Advice string
	Since        time.Time // when it began; zero: it is not known
	Until        time.Time // when the thing ends; zero: it has no end, and is wrong now
	// Stops says that the store cannot be used because of it, or not for all.
	Stops bool
}

// WarningKind is what a warning is about.
type WarningKind uint8

// The kinds. The numbers are on the wire; one that is not known counts as WarningOther.
const (
	WarningOther       WarningKind = 1
	WarningSecret      WarningKind = 2
	WarningCertificate WarningKind = 3
	WarningToken       WarningKind = 4
	WarningConsent     WarningKind = 5
	WarningThrottled   WarningKind = 6 // the server asks for less
)
