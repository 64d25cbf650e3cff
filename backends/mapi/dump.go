package mapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The dump of a message is JSON that a person can read and change. A property is
//
//	{"tag": "0x0037001f", "type": "PtypString", "name": "PidTagSubject", "value": "A bill"}
//
// and a named one has "guid" and "lid" or "named" too. The tag counts, and of a named property its name:
// "type" and "name" are for people, and either may stand alone in the place of the tag. Octets are hex,
// a time is {"filetime": …, "utc": …}, an error that stands in the place of a value is {"error": "0x8004010f"},
// a string in a code page {"text": …, "codepage": 1252}, and the octets of an attachment "data" in hex.

// dumpedMessage is a message in a dump.
type dumpedMessage struct {
	Properties  []dumpedProperty   `json:"properties"`
	Recipients  []dumpedRecipient  `json:"recipients,omitempty"`
	Attachments []dumpedAttachment `json:"attachments,omitempty"`
}

type dumpedRecipient struct {
	Properties []dumpedProperty `json:"properties"`
}

type dumpedAttachment struct {
	Properties []dumpedProperty `json:"properties"`
	Data       *string          `json:"data,omitempty"`
	Embedded   *dumpedMessage   `json:"embedded_message,omitempty"`
}

type dumpedProperty struct {
	Tag   string          `json:"tag,omitempty"`
	Type  string          `json:"type,omitempty"`
	Name  string          `json:"name,omitempty"`
	GUID  string          `json:"guid,omitempty"`
	LID   string          `json:"lid,omitempty"`
	Named string          `json:"named,omitempty"`
	Value json.RawMessage `json:"value"`
}

// WriteDump writes a message as JSON. What is streamed is read whole: a dump is for people.
func WriteDump(w io.Writer, m *Message) error {
	dumped, err := dumpMessage(m, 0)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	return encoder.Encode(dumped)
}

// ReadDump reads what WriteDump wrote, or a person in that form.
func ReadDump(r io.Reader) (*Message, error) {
	var dumped dumpedMessage
	if err := json.NewDecoder(r).Decode(&dumped); err != nil {
		return nil, err
	}
	return dumped.message(0)
}

func dumpMessage(m *Message, depth int) (*dumpedMessage, error) {
	if depth > DepthMost {
		return nil, ErrDepth
	}
	var dumped dumpedMessage
	var err error
	if dumped.Properties, err = dumpProperties(&m.Properties); err != nil {
		return nil, err
	}
	for _, r := range m.Recipients {
		properties, err := dumpProperties(&r.Properties)
		if err != nil {
			return nil, err
		}
		dumped.Recipients = append(dumped.Recipients, dumpedRecipient{properties})
	}
	for _, a := range m.Attachments {
		attachment, err := dumpAttachment(a, depth)
		if err != nil {
			return nil, err
		}
		dumped.Attachments = append(dumped.Attachments, attachment)
	}
	return &dumped, nil
}

func dumpAttachment(a *Attachment, depth int) (dumpedAttachment, error) {
	var dumped dumpedAttachment
	var err error
	if dumped.Properties, err = dumpProperties(&a.Properties); err != nil {
		return dumped, err
	}
	if !a.Data.IsZero() {
		octets, err := readContent(a.Data)
		if err != nil {
			return dumped, err
		}
		data := fmt.Sprintf("%x", octets)
		dumped.Data = &data
	}
	if a.Embedded != nil {
		dumped.Embedded, err = dumpMessage(a.Embedded, depth+1)
	}
	return dumped, err
}

// readContent reads a content whole.
func readContent(c Content) ([]byte, error) {
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func dumpProperties(properties *Properties) ([]dumpedProperty, error) {
	dumped := []dumpedProperty{}
	for p := range properties.All() {
		value, err := dumpValue(p.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		one := dumpedProperty{Tag: fmt.Sprintf("0x%08x", uint32(p.Tag)), Type: p.Value.Type().String(), Name: p.Tag.Name(), Value: value}
		if !p.Named.IsZero() {
			one.nameAs(p.Named)
		}
		dumped = append(dumped, one)
	}
	return dumped, nil
}

func (d *dumpedProperty) nameAs(n Named) {
	definition, _ := LookupNamed(n)
	d.Name, d.GUID, d.Named = definition.Name, strings.Trim(n.Set.String(), "{}"), n.Name
	if n.Name == "" {
		d.LID = fmt.Sprintf("0x%04x", n.LID)
	}
}

func (d *dumpedMessage) message(depth int) (*Message, error) {
	if depth > DepthMost {
		return nil, ErrDepth
	}
	m := &Message{}
	if err := undump(&m.Properties, d.Properties); err != nil {
		return nil, err
	}
	for i, dumped := range d.Recipients {
		r := &Recipient{}
		if err := undump(&r.Properties, dumped.Properties); err != nil {
			return nil, fmt.Errorf("recipient %d: %w", i, err)
		}
		m.Recipients = append(m.Recipients, r)
	}
	for i, dumped := range d.Attachments {
		a, err := dumped.attachment(depth)
		if err != nil {
			return nil, fmt.Errorf("attachment %d: %w", i, err)
		}
		m.Attachments = append(m.Attachments, a)
	}
	return m, nil
}

func (d *dumpedAttachment) attachment(depth int) (*Attachment, error) {
	a := &Attachment{}
	if err := undump(&a.Properties, d.Properties); err != nil {
		return nil, err
	}
	if d.Data != nil {
		octets, err := unhex(*d.Data)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		a.Data = ContentOf(octets)
	}
	var err error
	if d.Embedded != nil {
		a.Embedded, err = d.Embedded.message(depth + 1)
	}
	return a, err
}

func undump(properties *Properties, dumped []dumpedProperty) error {
	for _, d := range dumped {
		p, err := d.property()
		if err != nil {
			return fmt.Errorf("property %s %s %s: %w", d.Tag, d.Name, d.Named, err)
		}
		properties.Put(p)
	}
	return nil
}

func (d *dumpedProperty) property() (Property, error) {
	p, err := d.identity()
	if err != nil {
		return p, err
	}
	if p.Value, err = undumpValue(p.Tag.Type(), d.Value); err != nil {
		return p, err
	}
	p.Tag = p.Tag.WithType(p.Value.Type())
	return p, nil
}

// identity returns the property without its value: the type is that which the value should have.
func (d *dumpedProperty) identity() (p Property, err error) {
	definition, known := LookupName(d.Name)
	switch {
	case d.Tag != "":
		tag, err := strconv.ParseUint(d.Tag, 0, 32)
		if err != nil {
			return p, errors.New("the tag is no number such as 0x0037001f")
		}
		p.Tag = Tag(tag)
	case known:
		p.Tag = definition.Tag
	}
	if d.Type != "" {
		t, err := ParseType(d.Type)
		if err != nil {
			return p, err
		}
		p.Tag = p.Tag.WithType(t)
	}
	switch {
	case d.GUID != "":
		p.Named, err = d.name()
	case known:
		p.Named = definition.Named
	case d.Tag == "":
		err = errors.New("neither a tag nor a name that is known")
	}
	return p, err
}

func (d *dumpedProperty) name() (Named, error) {
	set, err := ParseGUID(d.GUID)
	if err != nil || d.Named != "" {
		return Named{Set: set, Name: d.Named}, err
	}
	lid, err := strconv.ParseUint(d.LID, 0, 32)
	if err != nil {
		return Named{}, errors.New("the lid is no number such as 0x8501, and there is no name")
	}
	return Named{Set: set, LID: uint32(lid)}, nil
}
