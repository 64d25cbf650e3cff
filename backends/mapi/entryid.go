package mapi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// EntryID is an identifier of a message, folder or recipient as properties hold one, MS-OXCDATA §2.2: one of the types below.
type EntryID interface {
	// AppendTo appends the octets of the property.
	AppendTo(octets []byte) []byte
}

// FolderEntryID is a folder, MS-OXCDATA §2.2.4.1.
type FolderEntryID struct {
	Provider GUID   // the mailbox's (MailboxGuid of RopLogon), or [PublicProvider]
	Kind     uint16 // such as [EntryPrivateFolder]
	Folder   LongTermID
}

// MessageEntryID is a message in a folder, MS-OXCDATA §2.2.4.2.
type MessageEntryID struct {
	Provider GUID
	Kind     uint16 // such as [EntryPrivateMessage]
	Folder   LongTermID
	Message  LongTermID
}

// The kinds of objects of a store, MS-OXCDATA §2.2.4.
const (
	EntryPrivateFolder  uint16 = 0x0001
	EntryPublicFolder   uint16 = 0x0003
	EntryMappedPublic   uint16 = 0x0005
	EntryPrivateMessage uint16 = 0x0007
	EntryPublicMessage  uint16 = 0x0009
	EntryMappedMessage  uint16 = 0x000B
	EntryPublicNewsgrp  uint16 = 0x000C // a newsgroup folder
)

// OneOffEntryID is a recipient that is in no address book, MS-OXCDATA §2.2.5.1.
type OneOffEntryID struct {
	Flags       uint16 // of the bits below
	DisplayName string
	AddressType string // such as SMTP
	Address     string
	CodePage    int // that in which the texts are, if OneOffUnicode is not among the flags
}

// The flags of a one-off entry id, MS-OXCDATA §2.2.5.1. Without a format it is the sender's choice.
const (
	OneOffMIME        uint16 = 0x0001 // M: no TNEF
	OneOffTextOnly    uint16 = 0x0006
	OneOffHTMLOnly    uint16 = 0x000E
	OneOffTextAndHTML uint16 = 0x0016
	OneOffFormat      uint16 = 0x001E // the bits of the format
	OneOffMacEncoding uint16 = 0x0060 // MAE
	OneOffNoLookup    uint16 = 0x1000 // L: the address is not looked up in the address book
	OneOffUnicode     uint16 = 0x8000 // U
)

// AddressBookEntryID is an object of the address book, MS-OXCDATA §2.2.5.2.
type AddressBookEntryID struct {
	Kind uint32 // [AddressBookUser] and so on
	DN   string // the X500 distinguished name (legacyExchangeDN), which is the address of type EX
}

// The kinds of objects of the address book, MS-OXCDATA §2.2.5.2.
const (
	AddressBookUser       uint32 = 0x000
	AddressBookList       uint32 = 0x001
	AddressBookFolder     uint32 = 0x002
	AddressBookAutomat    uint32 = 0x003
	AddressBookOrg        uint32 = 0x004
	AddressBookPrivate    uint32 = 0x005
	AddressBookRemoteUser uint32 = 0x006
	AddressBookContainer  uint32 = 0x100
	AddressBookTemplate   uint32 = 0x101
	AddressBookOneOff     uint32 = 0x102
	AddressBookSearch     uint32 = 0x200
)

// ContactEntryID is an address in a contact, MS-OXCDATA §2.2.5.3, or a personal distribution list, §2.2.5.4.
type ContactEntryID struct {
	Kind    uint32 // [ContactAddress] or [ContactList]
	Index   uint32 // which of the contact's addresses: 0 to 2 for e-mail, 3 to 5 for fax
	Contact []byte // the entry id of the contact or the list
}

// The kinds of a ContactEntryID.
const (
	ContactAddress uint32 = 0x4
	ContactList    uint32 = 0x5
)

// Providers, MS-OXCDATA §2.2.
var (
	PublicProvider      = MustGUID("9073441a-66aa-11cd-9bc8-00aa002fc45a")
	OneOffProvider      = MustGUID("a41f2b81-a3be-1910-9d6e-00dd010f5402")
	AddressBookProvider = MustGUID("c840a7dc-42c0-1a10-b4b9-08002b2fe182")
	ContactProvider     = MustGUID("0aaa42fe-c718-101a-e885-0b651c240000")
)

// Versions that entry ids have.
const (
	oneOffVersion      = 0
	addressBookVersion = 1
	contactVersion     = 3
)

// ErrEntryID says that octets are no entry id of a kind that is known.
var ErrEntryID = errors.New("no entry id of a known kind")

// ParseEntryID takes an entry id apart. codePage is that of a one-off entry id that is not in Unicode. What it does not
// know is an [ErrEntryID], and is best kept as it is.
func ParseEntryID(octets []byte, codePage int) (EntryID, error) {
	d := NewDecoder(octets, Format{CodePage: codePage})
	d.Uint32() // Flags: 0 if it is valid for longer than a session
	provider := d.GUID()
	var id EntryID
	switch provider {
	case OneOffProvider:
		id = d.oneOff(codePage)
	case AddressBookProvider:
		id = d.addressBook()
	case ContactProvider:
		id = d.contact()
	default:
		id = d.storeObject(provider)
	}
	return id, d.Err()
}

func (d *Decoder) oneOff(codePage int) EntryID {
	d.expect(uint32(d.Uint16()), oneOffVersion)
	id := OneOffEntryID{Flags: d.Uint16(), CodePage: codePage}
	inUnicode := id.Flags&OneOffUnicode != 0
	if inUnicode {
		id.CodePage = 0
	}
	id.DisplayName, id.AddressType, id.Address = d.name(inUnicode), d.name(inUnicode), d.name(inUnicode)
	return id
}

// expect fails unless the version is the one that is known.
func (d *Decoder) expect(version, known uint32) {
	if version != known {
		d.fail(fmt.Errorf("version %d: %w", version, ErrEntryID))
	}
}

func (d *Decoder) addressBook() EntryID {
	d.expect(d.Uint32(), addressBookVersion)
	return AddressBookEntryID{d.Uint32(), d.String8().Text()}
}

// contact takes an entry id that can have up to three octets more than it needs (MS-OXCDATA, product behaviour of §2.2.5.3).
func (d *Decoder) contact() EntryID {
	d.expect(d.Uint32(), contactVersion)
	id := ContactEntryID{Kind: d.Uint32(), Index: d.Uint32()}
	id.Contact = d.Bytes(d.counted(int(d.Uint32()), 1))
	return id
}

func (d *Decoder) storeObject(provider GUID) EntryID {
	kind := d.Uint16()
	switch kind {
	case EntryPrivateFolder, EntryPublicFolder, EntryMappedPublic, EntryPublicNewsgrp:
		return FolderEntryID{provider, kind, d.LongTermID()}
	case EntryPrivateMessage, EntryPublicMessage, EntryMappedMessage:
		return MessageEntryID{provider, kind, d.LongTermID(), d.LongTermID()}
	}
	d.fail(fmt.Errorf("provider %s, kind 0x%04x: %w", provider, kind, ErrEntryID))
	return nil
}

// start appends what all entry ids begin with.
func start(octets []byte, provider GUID) []byte {
	return append(append(octets, 0, 0, 0, 0), provider[:]...)
}

// AppendTo appends the octets of the property.
func (id FolderEntryID) AppendTo(octets []byte) []byte {
	octets = binary.LittleEndian.AppendUint16(start(octets, id.Provider), id.Kind)
	return id.Folder.AppendTo(octets)
}

// AppendTo appends the octets of the property.
func (id MessageEntryID) AppendTo(octets []byte) []byte {
	octets = binary.LittleEndian.AppendUint16(start(octets, id.Provider), id.Kind)
	return id.Message.AppendTo(id.Folder.AppendTo(octets))
}

// AppendTo appends the octets of the property. Texts that the code page does not have are written in Unicode.
func (id OneOffEntryID) AppendTo(octets []byte) []byte {
	if id.Flags&OneOffUnicode == 0 {
		if written, err := id.appendTo(octets); err == nil {
			return written
		}
	}
	id.Flags |= OneOffUnicode
	written, _ := id.appendTo(octets) // Unicode has all
	return written
}

func (id OneOffEntryID) appendTo(octets []byte) ([]byte, error) {
	e := NewEncoder(start(octets, OneOffProvider), Format{CodePage: id.CodePage})
	e.Uint16(oneOffVersion)
	e.Uint16(id.Flags)
	for _, text := range []string{id.DisplayName, id.AddressType, id.Address} {
		e.name(text, id.Flags&OneOffUnicode != 0)
	}
	return e.Octets(), e.Err()
}

// AppendTo appends the octets of the property.
func (id AddressBookEntryID) AppendTo(octets []byte) []byte {
	e := NewEncoder(start(octets, AddressBookProvider), Format{})
	e.Uint32(addressBookVersion)
	e.Uint32(id.Kind)
	e.String8(id.DN)
	return e.Octets()
}

// AppendTo appends the octets of the property.
func (id ContactEntryID) AppendTo(octets []byte) []byte {
	e := NewEncoder(start(octets, ContactProvider), Format{})
	e.Uint32(contactVersion)
	e.Uint32(id.Kind)
	e.Uint32(id.Index)
	e.Uint32(uint32(len(id.Contact)))
	e.Bytes(id.Contact)
	return e.Octets()
}

// ParseEntryList takes a FlatEntryList apart, MS-OXCDATA §2.3.3: the entry ids of PidTagReplyRecipientEntries, for example.
func ParseEntryList(octets []byte) ([][]byte, error) {
	d := NewDecoder(octets, Format{Wide: true})
	n := d.counted(int(d.Uint32()), 4)
	d.counted(int(d.Uint32()), 1) // the octets of all
	entries := make([][]byte, 0, n)
	for range n {
		entry := d.sized()
		if d.Err() != nil {
			return nil, d.Err()
		}
		d.take(min(padding(len(entry)), d.Left()))
		entries = append(entries, entry)
	}
	return entries, d.Err()
}

// padding is how many octets lie behind n of them, so that what follows begins at a multiple of four.
func padding(n int) int { return -n & 3 }

// NewEntryList makes a FlatEntryList of entry ids.
func NewEntryList(entries [][]byte) (Binary, error) {
	list := NewEncoder(nil, Format{Wide: true})
	for i, entry := range entries {
		list.sized(entry)
		if i < len(entries)-1 {
			list.Bytes(make([]byte, padding(len(entry))))
		}
	}
	if list.Err() != nil || uint64(len(list.Octets())) > math.MaxUint32 {
		return nil, errors.New("the entry ids do not fit in a list")
	}
	e := NewEncoder(nil, Format{})
	e.Uint32(uint32(len(entries)))
	e.Uint32(uint32(len(list.Octets())))
	e.Bytes(list.Octets())
	return e.Octets(), nil
}
