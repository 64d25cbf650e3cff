package tnef

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/dipylon/dipylon/backends/mapi"
)

// MS-OXTNEF §2.1.3.3.3: the kind of a TRP with a one-off address, and its octets.
const (
	trpOneOff = 4
	trpSize   = 8
)

// from takes attFrom: a TRP, the name, and the address, MS-OXTNEF §2.1.3.3.3.
func (o *object) from(s section) error {
	octets, err := o.small(s)
	if err != nil {
		return err
	}
	if len(octets) < trpSize || binary.LittleEndian.Uint16(octets) != trpOneOff {
		return fmt.Errorf("no one-off address: %w", ErrMalformed)
	}
	name, address := int(binary.LittleEndian.Uint16(octets[4:])), int(binary.LittleEndian.Uint16(octets[6:]))
	if trpSize+name+address > len(octets) {
		return fmt.Errorf("%d octets of name and address are announced: %w", name+address, ErrMalformed)
	}
	octets = octets[trpSize:]
	o.setPerson(mapi.SenderAddress, octets[:name], octets[name:name+address])
	return nil
}

// owner takes attOwner: who that is depends on the class, MS-OXTNEF §2.3.3.10.
func (o *object) owner(s section) error {
	class := o.message.Text(mapi.PidTagMessageClass)
	if class == "" {
		class = o.mapped.Text(mapi.PidTagMessageClass)
	}
	if under(class, meetingResponse) {
		return o.person(s, mapi.ReceivedRepresentingAddress)
	}
	return o.person(s, mapi.SentRepresentingAddress)
}

// person takes two strings behind their lengths, MS-OXTNEF §2.1.3.3.16.
func (o *object) person(s section, as mapi.AddressTags) error {
	octets, err := o.small(s)
	if err != nil {
		return err
	}
	name, rest, ok := counted(octets)
	address, _, both := counted(rest)
	if !ok || !both {
		return fmt.Errorf("name and address are longer than there is: %w", ErrMalformed)
	}
	o.setPerson(as, name, address)
	return nil
}

// counted cuts off a string that has its length in 16 bits in front.
func counted(octets []byte) (text, rest []byte, ok bool) {
	if len(octets) < 2 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(octets))
	if len(octets) < 2+n {
		return nil, nil, false
	}
	return octets[2 : 2+n], octets[2+n:], true
}

// setPerson keeps name and address, which are of the form SMTP:user@example.com.
func (o *object) setPerson(as mapi.AddressTags, name, address []byte) {
	text := func(octets []byte) string {
		return mapi.String8{Octets: strings.TrimRight(string(octets), "\x00"), CodePage: o.codePage}.Text()
	}
	a := mapi.Address{Name: text(name)}
	a.Type, a.Address, _ = strings.Cut(text(address), ":")
	if o.people == nil {
		o.people = map[mapi.AddressTags]mapi.Address{}
	}
	o.people[as] = a
}

// fillPeople sets those of whom the properties say nothing, with entry ids (MS-OXTNEF §2.3.3.10).
func (o *object) fillPeople() {
	for _, tags := range []mapi.AddressTags{mapi.SenderAddress, mapi.SentRepresentingAddress, mapi.ReceivedRepresentingAddress} {
		a, told := o.people[tags]
		if _, has := o.message.Address(tags); told && !has {
			o.message.SetAddress(tags, a)
		}
	}
}
