package convert

import (
	"fmt"
	"io"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
)

// Choice is what a conversion did, and the rule that it follows.
type Choice struct{ Text, Rule string }

// String returns the choice in a line.
func (c Choice) String() string {
	if c.Rule == "" {
		return c.Text
	}
	return c.Text + " (" + c.Rule + ")"
}

// Explain returns the choices of a conversion: of a message that has been read of the source, and of what was written of it. Without one of these
// (nil) it tells less. It tells no contents.
func (w Writer) Explain(m *mapi.Message, from, to Format, source, written *io.SectionReader) []Choice {
	e := &explanation{Writer: w}
	if from == EML {
		root := mailOf(source)
		e.opened = openedTNEF(root, m)
		e.fromMail(m, "", 0)
		e.refused(root)
	}
	switch to {
	case EML:
		e.toMail(m, "", 0)
		e.structure(written)
	case TNEF:
		e.tell("MS-OXTNEF §2.1.3.3.5", "the class stands in attMessageClass by the name that it had in Microsoft Mail, and by its own among the properties")
		e.tell("MS-OXTNEF §2.1.3.4", "properties stand in attMsgProps and attAttachment, recipients in attRecipTable; a message in the message is TNEF of its own")
		e.without(m, "TNEF has no form for the type", "MS-OXTNEF §2.1.3.4", mapi.PtypServerId, mapi.PtypRestriction, mapi.PtypRuleAction, mapi.PtypNull, mapi.PtypErrorCode)
	case FastTransfer:
		e.tell("MS-OXCFXICS §2.2.4.1", "properties follow one another by their tags, named ones with their names; recipients, attachments and messages in them are between markers")
		e.without(m, "an error in the place of a value is not in a stream", "MS-OXCFXICS §2.2.4.1", mapi.PtypErrorCode)
	case Dump:
		e.tell("", "all properties stand by their tags and names, and contents in base64")
	}
	return e.choices
}

type explanation struct {
	Writer
	opened  bool // TNEF in Internet mail was
	choices []Choice
}

// mailOf reads the structure of Internet mail. There is none where there is nothing, or too much, to read.
func mailOf(source *io.SectionReader) *entity.Entity {
	if source != nil {
		if root, err := entity.Read(source, source.Size()); err == nil {
			return root
		}
	}
	return &entity.Entity{Header: &header.Header{}}
}

func (e *explanation) tell(rule, format string, args ...any) {
	e.choices = append(e.choices, Choice{fmt.Sprintf(format, args...), rule})
}

// without tells the properties of types that a format does not have.
func (e *explanation) without(m *mapi.Message, text, rule string, types ...mapi.Type) {
	each("", m, func(where string, p mapi.Property) {
		for _, t := range types {
			if p.Value.Type() == t {
				e.tell(rule, "%s%s is left out: %s (%s)", where, p, text, t)
			}
		}
	})
}

// each calls a function for each property of a message and of what is in it.
func each(where string, m *mapi.Message, f func(where string, p mapi.Property)) {
	all := func(where string, bag *mapi.Properties) {
		for p := range bag.All() {
			f(where, p)
		}
	}
	all(where, &m.Properties)
	for i, r := range m.Recipients {
		all(fmt.Sprintf("%srecipient %d, ", where, i+1), &r.Properties)
	}
	for i, a := range m.Attachments {
		in := fmt.Sprintf("%sattachment %d, ", where, i+1)
		all(in, &a.Properties)
		if a.Embedded != nil {
			each(in+"in the message, ", a.Embedded, f)
		}
	}
}

// Lost returns which properties of one message another one lacks, by their places and names. It tells no values.
func Lost(from, to *mapi.Message) []string {
	type place struct {
		where string
		id    mapi.ID
		named mapi.Named
	}
	at := func(where string, p mapi.Property) place {
		if !p.Named.IsZero() {
			return place{where: where, named: p.Named}
		}
		return place{where: where, id: p.Tag.ID()} // whatever its type
	}
	kept := map[place]bool{}
	each("", to, func(where string, p mapi.Property) { kept[at(where, p)] = true })
	var lost []string
	each("", from, func(where string, p mapi.Property) {
		if !kept[at(where, p)] {
			lost = append(lost, where+p.String())
		}
	})
	return lost
}
