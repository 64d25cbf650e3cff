package stores

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// NameMost bounds a login name, in octets. SASL's PLAIN allows 255 (RFC 4616 §2); an
// address with a folder behind it can be somewhat longer.
const NameMost = 320

// Form is a form of login names that an administrator can turn off. Where a form is off, its
// separator is a character like any other. An address (alice@sakes.example) is always a name.
type Form string

// The forms. The texts stand in the configuration.
const (
	FormAlias   Form = "alias"   // alice
	FormRealm   Form = "realm"   // SAKES\alice, a Windows domain in front
	FormMailbox Form = "mailbox" // SAKES\alice\info and SAKES/alice/info, as Exchange 5 had them
	FormShared  Form = "shared"  // alice!info
	FormFolder  Form = "folder"  // alice+Archive, alice+Lists/Go@sakes.example
)

// Forms are all forms that there are.
func Forms() []Form { return []Form{FormAlias, FormRealm, FormMailbox, FormShared, FormFolder} }

// Names says how login names are read. Its zero value knows every form and no realm.
type Names struct {
	// Off are the forms that are not understood.
	Off []Form
	// Realms gives the mail domain of a Windows domain, whose name is in lower case here:
	// SAKES\alice is then alice@sakes.example.
	Realms map[string]string
}

// Name is a login name taken apart.
//
//	alice@sakes.example    User alice, Domain sakes.example
//	alice                  User alice
//	SAKES\alice            User alice, Realm SAKES: a Windows domain, which stores may know
//	SAKES\alice\info       the same user, Mailbox info: somebody else's, or a shared one
//	SAKES/alice/info       the same
//	alice!info             User alice, Mailbox info
//	alice+Archive          User alice, Folder Archive of the mailbox, "/" between its parts
//
// All of it combines: alice@sakes.example!info@sakes.example+Archive is the folder Archive of the
// mailbox info@sakes.example, by alice's leave to use it, proved with alice's password. The folder
// of an address stands in front of the "@" or behind the domain.
//
// # What could be read in two ways
//
//   - A "+" is always a folder's, as far as logins go. In the address of a mail it stays what the
//     store makes of it. Where accounts have a "+" in their names, FormFolder has to be off.
//   - Three parts with slashes are a realm, a user and a mailbox; any other number of slashes
//     (a local part with one, X.400's with a slash in front) is part of the name.
//   - The user is what stands first: alice!info is alice's login. It is her domain, or else the
//     mailbox's, that decides on the store; if they are two stores', nobody has such a name.
//   - Naming one's own mailbox (SAKES\alice\alice) is naming none. The folder INBOX, in letters of
//     any case, is none either.
//   - A realm in front of an address (SAKES\alice@tea.example) says two things, and is refused.
type Name struct {
	Raw     string
	User    string
	Domain  string // lower-case A-labels
	Realm   string // what stood before a backslash
	Mailbox string // whose mailbox is meant, a domain in it as lower-case A-labels; empty: the user's
	Folder  string // empty: the inbox
}

// ParseName reads a login name in every form.
func ParseName(raw string) (Name, bool) { return Names{}.Parse(raw) }

// Parse reads a login name. It is not ok when it cannot be anybody's: empty, too long, not
// UTF-8, with control characters, with a domain that is none, or with a part that is empty.
func (n Names) Parse(raw string) (name Name, ok bool) {
	name = Name{Raw: raw}
	if raw == "" || len(raw) > NameMost || !utf8.ValidString(raw) || strings.ContainsFunc(raw, unicode.IsControl) {
		return name, false
	}
	user, mailbox, ok := n.split(raw, &name.Realm)
	if !ok {
		return name, false
	}
	if mailbox != "" {
		name.Mailbox, name.Folder, ok = n.folder(mailbox)
		ok = ok && name.Mailbox != ""
	} else {
		user, name.Folder, ok = n.folder(user)
	}
	return name, ok && n.user(&name, user) && n.mailbox(&name)
}

// split takes realm and mailbox off a name.
func (n Names) split(raw string, realm *string) (user, mailbox string, ok bool) {
	user, ok = raw, true
	if first, rest, found := strings.Cut(raw, `\`); found && n.has(FormRealm) {
		*realm, user = first, rest
		if i := strings.IndexAny(rest, `\/`); i >= 0 && n.has(FormMailbox) {
			user, mailbox = rest[:i], rest[i+1:]
			ok = mailbox != ""
		}
		ok = ok && first != "" && !strings.ContainsAny(first, "@!+/")
	} else if parts, rest := n.threeParts(raw); parts != nil {
		// A "!" behind them would name a second mailbox.
		*realm, user, mailbox = parts[0], parts[1], parts[2]+rest
		ok = !strings.HasPrefix(rest, "!")
	}
	if first, rest, found := strings.Cut(user, "!"); found && n.has(FormShared) {
		ok = ok && mailbox == "" && rest != "" && !strings.Contains(rest, "!")
		user, mailbox = first, rest
	}
	return user, mailbox, ok && user != "" && !strings.Contains(mailbox, `\`)
}

// threeParts is a realm, a user and a mailbox with slashes between them, and what stands behind
// them: the folder of SAKES/alice/info+Lists/Go, whose slashes are its own. It is nil where a
// name is none of this form.
func (n Names) threeParts(raw string) (parts []string, rest string) {
	end := len(raw)
	for separator, form := range map[byte]Form{'!': FormShared, '+': FormFolder} {
		if i := strings.IndexByte(raw[:end], separator); i >= 0 && n.has(form) {
			end = i
		}
	}
	parts = strings.Split(raw[:end], "/")
	if !n.has(FormMailbox) || len(parts) != 3 || slices.Contains(parts, "") || strings.Contains(parts[0]+parts[1], "@") {
		return nil, ""
	}
	return parts, raw[end:]
}

// folder takes the folder off a name: off the local part of an address, or off its end.
func (n Names) folder(text string) (rest, folder string, ok bool) {
	at := strings.LastIndexByte(text, '@')
	plus := strings.IndexByte(text, '+')
	switch {
	case plus < 0 || !n.has(FormFolder):
		return text, "", true
	case at > plus: // alice+Archive@sakes.example
		rest, folder = text[:plus]+text[at:], text[plus+1:at]
	default:
		rest, folder = text[:plus], text[plus+1:]
	}
	folder = norm.NFC.String(folder)
	if strings.EqualFold(folder, "INBOX") { // RFC 9051 §5.1
		return rest, "", true
	}
	return rest, folder, folder != "" && !slices.ContainsFunc(strings.Split(folder, "/"), hostilePart)
}

// hostilePart finds parts of a path that no folder has, or that lead out of it.
func hostilePart(part string) bool { return part == "" || part == "." || part == ".." }

// user sets whose login it is.
func (n Names) user(name *Name, text string) bool {
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		domain, err := address.Domain(text[at+1:])
		name.User, name.Domain = text[:at], domain
		return err == nil && at > 0 && name.Realm == ""
	}
	name.User = text
	if domain, known := n.Realms[fold.Lower(name.Realm)]; known && name.Realm != "" {
		name.Domain, name.Realm = domain, ""
	}
	return text != "" && (name.Realm != "" || name.Domain != "" || n.has(FormAlias))
}

// mailbox puts the mailbox's name in order, and forgets it where it is the user's own.
func (n Names) mailbox(name *Name) bool {
	if at := strings.LastIndexByte(name.Mailbox, '@'); at >= 0 {
		domain, err := address.Domain(name.Mailbox[at+1:])
		if err != nil || at == 0 {
			return false
		}
		name.Mailbox = name.Mailbox[:at] + "@" + domain
	}
	if fold.Equal(name.Mailbox, name.User) || fold.Equal(name.Mailbox, name.String()) {
		name.Mailbox = ""
	}
	return true
}

func (n Names) has(form Form) bool { return !slices.Contains(n.Off, form) }

// For is the name with the mailbox, and perhaps the folder, that a client asks for in another
// way: by SASL's authorization identity (RFC 4422 §2). It is not ok where that is no name, or
// where both ways name mailboxes, and not the same.
func (n Names) For(name Name, identity string) (Name, bool) {
	if identity == "" {
		return name, true
	}
	other, ok := n.Parse(identity)
	if !ok || other.Mailbox != "" {
		return name, false
	}
	mailbox := other.String()
	if fold.Equal(mailbox, name.User) || fold.Equal(mailbox, name.String()) {
		mailbox = ""
	}
	if name.Mailbox != "" && !fold.Equal(name.Mailbox, mailbox) || name.Folder != "" && other.Folder != "" && name.Folder != other.Folder {
		return name, false
	}
	name.Mailbox = mailbox
	if other.Folder != "" {
		name.Folder = other.Folder
	}
	return name, true
}

// String is the user's name as a store is given it: a domain as lower-case A-labels, everything
// else untouched, mailbox and folder left out.
func (n Name) String() string {
	switch {
	case n.Domain != "":
		return n.User + "@" + n.Domain
	case n.Realm != "":
		return n.Realm + `\` + n.User
	}
	return n.User
}

// MailboxDomain is the domain in the mailbox's name; empty: there is none.
func (n Name) MailboxDomain() string {
	if at := strings.LastIndexByte(n.Mailbox, '@'); at >= 0 {
		return n.Mailbox[at+1:]
	}
	return ""
}

// Key is what attempts are counted under: one account, however its name's letters are cased,
// and whichever mailbox and folder it asks for.
func (n Name) Key() string { return fold.Lower(n.String()) }
