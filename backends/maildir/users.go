package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
)

// Users changes the accounts of a store, which may be in use meanwhile. Changes by several
// processes wait for each other.
type Users struct {
	// Root is the store's root folder.
	Root string
	// Accounts is the accounts file; empty: accounts.yaml in the root.
	Accounts string
}

// User is an account as [Users.Add] makes it and [Users.List] shows it.
type User struct {
	Address string
	Name    string // for people
	// Aliases are further addresses whose mail the account gets; "@example.org" stands for
	// all of a domain that nobody else has.
	Aliases []string
	// SendAs are further addresses that the account may send as, or whole domains.
	SendAs []string
	// Opens are addresses of accounts whose mailboxes the account may open with its own password:
	// shared mailboxes, as a rule. Opened so, it is the other account, and sends as that.
	Opens    []string
	Quota    int64 // octets; 0: the store's
	Disabled bool  // it cannot log in; mail for it is still taken
	// HasPassword says that the account can log in with a password. Add does not look at it.
	HasPassword bool
}

// The errors of [Users], to be found with errors.Is.
var (
	ErrUserExists = errors.New("there is such an account already")
	ErrNoUser     = errors.New("there is no such account")
	ErrPassword   = errors.New("the password is empty")
)

// UsersOf finds the accounts that a store with these settings uses. What is wrong with the
// settings comes back as a [*backends.SettingsError].
func UsersOf(in backends.Settings) (Users, error) {
	s, err := readSettings(in)
	return Users{Root: s.Root, Accounts: s.Accounts}, err
}

// AddUser adds an account to the store in root. See [Users.Add].
func AddUser(root, address string, password []byte, options User) error {
	options.Address = address
	return Users{Root: root}.Add(context.Background(), options, password)
}

// SetPassword changes the password of an account of the store in root.
func SetPassword(root, address string, password []byte) error {
	return Users{Root: root}.SetPassword(context.Background(), address, password)
}

// RemoveUser removes an account of the store in root, and not its mail.
func RemoveUser(root, address string) error {
	return Users{Root: root}.Remove(context.Background(), address)
}

// ListUsers lists the accounts of the store in root, in the file's order.
func ListUsers(root string) ([]User, error) { return Users{Root: root}.List() }

func (u Users) path() string {
	if u.Accounts != "" {
		return u.Accounts
	}
	return filepath.Join(u.Root, defaultAccounts)
}

// Add adds an account, and makes its mailbox, with the mail that an earlier account of this
// address left there. [ErrUserExists]: the address, or one of the aliases, is taken.
func (u Users) Add(ctx context.Context, user User, password []byte) error {
	if len(password) == 0 {
		return ErrPassword
	}
	a, err := parseAddress(user.Address)
	if err != nil {
		return fmt.Errorf("%q is no address: %w", user.Address, err)
	}
	if err := makeRoot(u.Root); err != nil {
		return err
	}
	err = u.change(ctx, func(d *directory, list *yaml.Node) error {
		for _, each := range append([]string{user.Address}, user.Aliases...) {
			if taken := d.taken(each); taken != nil {
				return fmt.Errorf("%s: %w (line %d of the accounts file)", each, ErrUserExists, taken.line)
			}
		}
		list.Content = append(list.Content, entryOf(user, a, argon2id.New(password)))
		return nil
	})
	if err != nil {
		return err
	}
	box := newBoxes(disk{}, clock, u.Root).of(a)
	if err := box.make(); err != nil {
		return err
	}
	return adopt(u.Root, filepath.Dir(box.dir), box.dir,
		filepath.Join(box.dir, "tmp"), filepath.Join(box.dir, "new"), filepath.Join(box.dir, "cur"))
}

// taken is who has an address, or a whole domain.
func (d *directory) taken(text string) *account {
	if text != "" && text[0] == '@' {
		domain, _ := parseDomain(text[1:]) // what is no domain will be told of with its line
		return d.catchAll[domain]
	}
	a, _ := parseAddress(text)
	return d.mail[a]
}

// SetPassword changes an account's password.
func (u Users) SetPassword(ctx context.Context, address string, password []byte) error {
	if len(password) == 0 {
		return ErrPassword
	}
	return u.change(ctx, func(d *directory, list *yaml.Node) error {
		i, err := d.index(address)
		if err != nil {
			return err
		}
		value := scalar(argon2id.New(password).String())
		if old := child(list.Content[i], "password"); old != nil {
			value.HeadComment, value.LineComment, value.FootComment = old.HeadComment, old.LineComment, old.FootComment
			*old = *value
			return nil
		}
		list.Content[i].Content = append(list.Content[i].Content, scalar("password"), value)
		return nil
	})
}

// Remove removes an account. Its mail stays, for an account of the same address to find or
// for somebody to remove.
func (u Users) Remove(ctx context.Context, address string) error {
	return u.change(ctx, func(d *directory, list *yaml.Node) error {
		i, err := d.index(address)
		if err != nil {
			return err
		}
		list.Content = append(list.Content[:i:i], list.Content[i+1:]...)
		return nil
	})
}

// List lists the accounts in the file's order.
func (u Users) List() ([]User, error) {
	text, err := readAccounts(u.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := parseAccounts(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u.path(), err)
	}
	users := make([]User, len(d.accounts))
	for i, a := range d.accounts {
		users[i] = User{
			Address: a.address.String(), Name: a.name, SendAs: a.sendAs, Quota: a.quota,
			Disabled: a.disabled, HasPassword: a.hash != nil,
		}
		for _, alias := range a.aliases {
			users[i].Aliases = append(users[i].Aliases, alias.String())
		}
		for _, other := range a.opens {
			users[i].Opens = append(users[i].Opens, other.String())
		}
	}
	return users, nil
}

// index is the place of an account in the file, by its address.
func (d *directory) index(text string) (int, error) {
	a, err := parseAddress(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no address: %w", text, err)
	}
	for i, each := range d.accounts {
		if each.address == a {
			return i, nil
		}
	}
	if holder := d.mail[a]; holder != nil {
		return 0, fmt.Errorf("%s: %w; it is an alias of %s", a, ErrNoUser, holder.address)
	}
	return 0, fmt.Errorf("%s: %w; add it first", a, ErrNoUser)
}

const accountsHead = `The accounts of a mail store. Edit it as you like: the store reads it again when it has changed.
Passwords are Argon2id hashes; "dipylon maildir user" makes them.`

// lockWait is how long a change waits for another process's.
const lockWait = 10 * time.Second

// change reads the accounts file, lets edit change its list, and writes it back with the
// comments it had. What would not be a good accounts file is not written.
func (u Users) change(ctx context.Context, edit func(*directory, *yaml.Node) error) error {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	path := u.path()
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays a link
	}
	unlock, err := lockFile(ctx, path+".lock")
	if err != nil {
		return fmt.Errorf("waiting for another process to finish with %s: %w", path, err)
	}
	defer unlock()
	if err := adopt(filepath.Dir(path), path+".lock"); err != nil {
		return err
	}
	text, err := readAccounts(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d, err := parseAccounts(text)
	if err != nil {
		return fmt.Errorf("%s is to be put right first: %w", path, err)
	}
	doc, list, err := editable(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := edit(d, list); err != nil {
		return err
	}
	changed, err := encode(doc)
	if err != nil {
		return err
	}
	if _, err := parseAccounts(changed); err != nil {
		return fmt.Errorf("that would not be right: %w", err)
	}
	return replaceFile(disk{}, path, changed)
}

// editable is the document of an accounts file, with its list of accounts.
func editable(text []byte) (doc, list *yaml.Node, err error) {
	doc = &yaml.Node{}
	if err := yaml.Unmarshal(text, doc); err != nil {
		return nil, nil, err
	}
	if doc.Kind == 0 {
		doc.Kind, doc.Content = yaml.DocumentNode, []*yaml.Node{{Kind: yaml.MappingNode}}
		doc.HeadComment = accountsHead
		if len(bytes.TrimSpace(text)) > 0 {
			doc.HeadComment = string(bytes.TrimSpace(text)) // a file of comments alone
		}
	}
	top := doc.Content[0]
	list = child(top, "accounts")
	if list == nil {
		list = &yaml.Node{Kind: yaml.SequenceNode}
		top.Content = append(top.Content, scalar("accounts"), list)
	}
	if list.Kind != yaml.SequenceNode { // "accounts:" with nothing behind it
		list.Kind, list.Tag, list.Value = yaml.SequenceNode, "", ""
	}
	list.Style &^= yaml.FlowStyle
	return doc, list, nil
}

func encode(doc *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(doc), e.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func scalar(value string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(value)
	return n
}

func entryOf(user User, a address, hash *argon2id.Hash) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	put := func(key string, value *yaml.Node) { n.Content = append(n.Content, scalar(key), value) }
	put("address", scalar(a.String()))
	put("password", scalar(hash.String()))
	if user.Name != "" {
		put("name", scalar(user.Name))
	}
	if len(user.Aliases) > 0 {
		put("aliases", flow(user.Aliases))
	}
	if len(user.SendAs) > 0 {
		put("send_as", flow(user.SendAs))
	}
	if len(user.Opens) > 0 {
		put("opens", flow(user.Opens))
	}
	if user.Quota > 0 {
		put("quota", &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatInt(user.Quota, 10)})
	}
	if user.Disabled {
		put("disabled", &yaml.Node{Kind: yaml.ScalarNode, Value: "true"})
	}
	return n
}

func flow(texts []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, t := range texts {
		n.Content = append(n.Content, scalar(t))
	}
	return n
}

// replaceFile puts a new content in the place of a file, durably or not at all. Only the
// owner may read it.
func replaceFile(fsys fileSystem, path string, content []byte) error {
	tmp := path + ".tmp" + strconv.Itoa(os.Getpid())
	if err := fsys.Remove(tmp); err != nil && !isGone(err) {
		return err // of a process that had the same number and was cut off
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = adopt(ownerOf(path), tmp)
	}
	if err == nil {
		err = fsys.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, fsys.Remove(tmp))
	}
	return fsys.SyncDir(filepath.Dir(path))
}

// ownerOf is whose owner a file is to have: its own, or its folder's while there is none.
func ownerOf(path string) string {
	if _, err := os.Stat(path); err != nil {
		return filepath.Dir(path)
	}
	return path
}
