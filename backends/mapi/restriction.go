package mapi

import "fmt"

// Restriction is a condition on the rows of a table or on a message, MS-OXCDATA §2.12: one of the types below.
type Restriction interface {
	Value
	// restrict keeps other types out.
	restrict()
}

// RelOp is how two values are compared, MS-OXCDATA §2.12.5.1.
type RelOp uint8

// The ways to compare.
const (
	RelLT     RelOp = 0x00
	RelLE     RelOp = 0x01
	RelGT     RelOp = 0x02
	RelGE     RelOp = 0x03
	RelEQ     RelOp = 0x04
	RelNE     RelOp = 0x05
	RelRE     RelOp = 0x06 // matches a regular expression
	RelMember RelOp = 0x64 // is a member of a distribution list
)

// The kinds of restriction, MS-OXCDATA §2.12.
type (
	// And holds if all hold. §2.12.1
	And []Restriction
	// Or holds if one holds. §2.12.2
	Or []Restriction
	// Not holds if its restriction does not. §2.12.3
	Not struct{ Restriction Restriction }
	// ContentRestriction compares texts or octets. §2.12.4
	ContentRestriction struct {
		Fuzzy uint32 // FuzzyLevelLow in the lower half, FuzzyLevelHigh in the upper one
		Tag   Tag
		Value Property
	}
	// PropertyRestriction compares a property with a value. §2.12.5
	PropertyRestriction struct {
		Op    RelOp
		Tag   Tag
		Value Property
	}
	// CompareRestriction compares two properties. §2.12.6
	CompareRestriction struct {
		Op          RelOp
		First, Last Tag
	}
	// BitMaskRestriction looks at bits. §2.12.7
	BitMaskRestriction struct {
		NotZero bool // whether one of them must be set, or none
		Tag     Tag
		Mask    uint32
	}
	// SizeRestriction compares the size of a value. §2.12.8
	SizeRestriction struct {
		Op   RelOp
		Tag  Tag
		Size uint32
	}
	// ExistRestriction wants a property to be there. §2.12.9
	ExistRestriction struct{ Tag Tag }
	// SubRestriction is about the recipients or the attachments of a message. §2.12.10
	SubRestriction struct {
		Of          Tag // PidTagMessageRecipients or PidTagMessageAttachments
		Restriction Restriction
	}
	// CommentRestriction adds properties that mean nothing to the restriction, which may be nil. §2.12.11
	CommentRestriction struct {
		Values      []Property
		Restriction Restriction
	}
	// CountRestriction limits how many rows there are. §2.12.12
	CountRestriction struct {
		Count       uint32
		Restriction Restriction
	}
)

// Type is PtypRestriction.
func (And) Type() Type                 { return PtypRestriction }
func (Or) Type() Type                  { return PtypRestriction }
func (Not) Type() Type                 { return PtypRestriction }
func (ContentRestriction) Type() Type  { return PtypRestriction }
func (PropertyRestriction) Type() Type { return PtypRestriction }
func (CompareRestriction) Type() Type  { return PtypRestriction }
func (BitMaskRestriction) Type() Type  { return PtypRestriction }
func (SizeRestriction) Type() Type     { return PtypRestriction }
func (ExistRestriction) Type() Type    { return PtypRestriction }
func (SubRestriction) Type() Type      { return PtypRestriction }
func (CommentRestriction) Type() Type  { return PtypRestriction }
func (CountRestriction) Type() Type    { return PtypRestriction }

func (And) restrict()                 {}
func (Or) restrict()                  {}
func (Not) restrict()                 {}
func (ContentRestriction) restrict()  {}
func (PropertyRestriction) restrict() {}
func (CompareRestriction) restrict()  {}
func (BitMaskRestriction) restrict()  {}
func (SizeRestriction) restrict()     {}
func (ExistRestriction) restrict()    {}
func (SubRestriction) restrict()      {}
func (CommentRestriction) restrict()  {}
func (CountRestriction) restrict()    {}

// The RestrictType of each kind, MS-OXCDATA §2.12.
const (
	resAnd uint8 = iota
	resOr
	resNot
	resContent
	resProperty
	resCompare
	resBitMask
	resSize
	resExist
	resSub
	resComment
	resCount
)

// Restriction takes a restriction, MS-OXCDATA §2.12. It returns nil after an error.
func (d *Decoder) Restriction() Restriction {
	if d.depth++; d.depth > DepthMost {
		d.fail(ErrDepth)
	}
	defer func() { d.depth-- }()
	r := d.restriction(d.Uint8())
	if d.err != nil {
		return nil
	}
	return r
}

func (d *Decoder) restriction(kind uint8) Restriction {
	switch kind {
	case resAnd:
		return And(d.restrictions())
	case resOr:
		return Or(d.restrictions())
	case resNot:
		return Not{d.Restriction()}
	case resContent:
		return ContentRestriction{d.Uint32(), d.Tag(), d.TaggedValue()}
	case resProperty:
		return PropertyRestriction{RelOp(d.Uint8()), d.Tag(), d.TaggedValue()}
	case resCompare:
		return CompareRestriction{RelOp(d.Uint8()), d.Tag(), d.Tag()}
	case resBitMask:
		return BitMaskRestriction{d.Uint8() != 0, d.Tag(), d.Uint32()}
	case resSize:
		return SizeRestriction{RelOp(d.Uint8()), d.Tag(), d.Uint32()}
	case resExist:
		return ExistRestriction{d.Tag()}
	case resSub:
		return SubRestriction{d.Tag(), d.Restriction()}
	case resComment:
		return d.comment()
	case resCount:
		return CountRestriction{d.Uint32(), d.Restriction()}
	}
	d.fail(fmt.Errorf("0x%02x is no kind of restriction", kind))
	return nil
}

// restrictions takes those of an And or Or. The least of them, an empty And, has three octets.
func (d *Decoder) restrictions() []Restriction {
	n := d.counted(d.count(), 3)
	var all []Restriction
	for range n {
		r := d.Restriction()
		if r == nil {
			return nil
		}
		all = append(all, r)
	}
	return all
}

func (d *Decoder) comment() Restriction {
	var c CommentRestriction
	for range d.counted(int(d.Uint8()), 4) {
		p := d.TaggedValue()
		if d.err != nil {
			return nil
		}
		c.Values = append(c.Values, p)
	}
	if d.Uint8() != 0 {
		c.Restriction = d.Restriction()
	}
	return c
}

// Restriction writes a restriction, MS-OXCDATA §2.12.
func (e *Encoder) Restriction(r Restriction) {
	switch r := r.(type) {
	case And:
		e.restrictions(resAnd, r)
	case Or:
		e.restrictions(resOr, r)
	case Not:
		e.Uint8(resNot)
		e.Restriction(r.Restriction)
	case ContentRestriction:
		e.Uint8(resContent)
		e.Uint32(r.Fuzzy)
		e.Tag(r.Tag)
		e.TaggedValue(r.Value)
	case PropertyRestriction:
		e.Bytes([]byte{resProperty, byte(r.Op)})
		e.Tag(r.Tag)
		e.TaggedValue(r.Value)
	case CompareRestriction:
		e.Bytes([]byte{resCompare, byte(r.Op)})
		e.Tag(r.First)
		e.Tag(r.Last)
	default:
		e.restrictionOfSize(r)
	}
}

func (e *Encoder) restrictionOfSize(r Restriction) {
	switch r := r.(type) {
	case BitMaskRestriction:
		e.Uint8(resBitMask)
		e.Value(Boolean(r.NotZero))
		e.Tag(r.Tag)
		e.Uint32(r.Mask)
	case SizeRestriction:
		e.Bytes([]byte{resSize, byte(r.Op)})
		e.Tag(r.Tag)
		e.Uint32(r.Size)
	case ExistRestriction:
		e.Uint8(resExist)
		e.Tag(r.Tag)
	case SubRestriction:
		e.Uint8(resSub)
		e.Tag(r.Of)
		e.Restriction(r.Restriction)
	case CommentRestriction:
		e.comment(r)
	case CountRestriction:
		e.Uint8(resCount)
		e.Uint32(r.Count)
		e.Restriction(r.Restriction)
	default:
		e.fail("a restriction is missing")
	}
}

func (e *Encoder) restrictions(kind uint8, all []Restriction) {
	e.Uint8(kind)
	e.count(len(all))
	for _, r := range all {
		e.Restriction(r)
	}
}

func (e *Encoder) comment(c CommentRestriction) {
	e.Uint8(resComment)
	e.length8(len(c.Values))
	for _, p := range c.Values {
		e.TaggedValue(p)
	}
	e.Value(Boolean(c.Restriction != nil))
	if c.Restriction != nil {
		e.Restriction(c.Restriction)
	}
}
