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
//   - A mailbox is named once, and the folder behind it: alice!info!sales, alice+Archive!info and
//     SAKES\alice\info!sales are refused.
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

// split takes realm and mailbox off a name. A folder stays where it stands.
func (n Names) split(raw string, realm *string) (user, mailbox string, ok bool) {
	names, rest := n.cut(raw)
	*realm, user, mailbox, ok = n.names(names)
	if !ok || n.has(FormRealm) && strings.Contains(rest, `\`) {
		return user, mailbox, false
	}
	switch {
	case strings.HasPrefix(rest, "!") && n.has(FormShared):
		ok = mailbox == "" && rest != "!"
		mailbox = rest[1:]
	case mailbox != "":
		mailbox += rest
	default:
		user += rest
	}
	// Nobody opens two mailboxes, nor a folder of one and another mailbox.
	return user, mailbox, ok && user != "" && !(n.has(FormShared) && strings.Contains(user+mailbox, "!"))
}

// cut parts a name in front of its first "!" or "+": what stands behind them has slashes of its own,
// as SAKES/alice/info+Lists/Go and SAKES\alice+Lists/Go have.
func (n Names) cut(raw string) (names, rest string) {
	end := strings.IndexFunc(raw, func(r rune) bool { return r == '!' && n.has(FormShared) || r == '+' && n.has(FormFolder) })
	if end < 0 {
		return raw, ""
	}
	return raw[:end], raw[end:]
}

// names takes apart what has neither "!" nor "+": SAKES\alice, SAKES\alice\info, SAKES/alice/info, alice.
func (n Names) names(text string) (realm, user, mailbox string, ok bool) {
	if first, second, found := strings.Cut(text, `\`); found && n.has(FormRealm) {
		realm, user, ok = first, second, first != "" && !strings.ContainsAny(first, "@!+/")
		if i := strings.IndexAny(second, `\/`); i >= 0 && n.has(FormMailbox) {
			user, mailbox = second[:i], second[i+1:]
			ok = ok && mailbox != "" && !strings.Contains(mailbox, `\`)
		}
		return realm, user, mailbox, ok
	}
	parts := strings.Split(text, "/")
	if !n.has(FormMailbox) || len(parts) != 3 || slices.Contains(parts, "") || strings.Contains(parts[0]+parts[1], "@") {
		return "", text, "", true
	}
	return parts[0], parts[1], parts[2], true
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
	if name.owns(name.Mailbox) {
		name.Mailbox = ""
	}
	return true
}

// owns says whether a mailbox is the user's own: it has the whole name, or that without the domain.
func (n Name) owns(mailbox string) bool {
	return fold.Equal(mailbox, n.String()) || fold.Equal(mailbox, n.User) && !strings.Contains(mailbox, "@")
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
	if name.owns(mailbox) {
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
