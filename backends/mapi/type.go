package mapi

import "fmt"

// Type is the type of a property's value, MS-OXCDATA §2.11.1.
type Type uint16

// The types of single values.
const (
	PtypUnspecified  Type = 0x0000 // stands for any type, where one is asked for
	PtypNull         Type = 0x0001
	PtypInteger16    Type = 0x0002
	PtypInteger32    Type = 0x0003
	PtypFloating32   Type = 0x0004
	PtypFloating64   Type = 0x0005
	PtypCurrency     Type = 0x0006
	PtypFloatingTime Type = 0x0007
	PtypErrorCode    Type = 0x000A
	PtypBoolean      Type = 0x000B
	PtypObject       Type = 0x000D
	PtypInteger64    Type = 0x0014
	PtypString8      Type = 0x001E
	PtypString       Type = 0x001F
	PtypTime         Type = 0x0040
	PtypGuid         Type = 0x0048
	PtypServerId     Type = 0x00FB
	PtypRestriction  Type = 0x00FD
	PtypRuleAction   Type = 0x00FE
	PtypBinary       Type = 0x0102
)

// The types of many values.
const (
	PtypMultipleInteger16    = PtypInteger16 | MultiValue
	PtypMultipleInteger32    = PtypInteger32 | MultiValue
	PtypMultipleFloating32   = PtypFloating32 | MultiValue
	PtypMultipleFloating64   = PtypFloating64 | MultiValue
	PtypMultipleCurrency     = PtypCurrency | MultiValue
	PtypMultipleFloatingTime = PtypFloatingTime | MultiValue
	PtypMultipleInteger64    = PtypInteger64 | MultiValue
	PtypMultipleString8      = PtypString8 | MultiValue
	PtypMultipleString       = PtypString | MultiValue
	PtypMultipleTime         = PtypTime | MultiValue
	PtypMultipleGuid         = PtypGuid | MultiValue
	PtypMultipleBinary       = PtypBinary | MultiValue
)

// Bits of a type.
const (
	MultiValue         Type = 0x1000 // many values
	MultiValueInstance Type = 0x2000 // with MultiValue, in a table's columns: one of the values in each row (MS-OXCTABL §2.2.1.4)
)

// IsMulti says whether there are many values.
func (t Type) IsMulti() bool { return t&MultiValue != 0 && t&MultiValueInstance == 0 }

// Single returns the type of one of the values.
func (t Type) Single() Type { return t &^ (MultiValue | MultiValueInstance) }

// IsText says whether the value is a string, whichever way it is encoded.
func (t Type) IsText() bool { return t == PtypString || t == PtypString8 }

var typeNames = map[Type]string{
	PtypUnspecified: "Unspecified", PtypNull: "Null", PtypInteger16: "Integer16", PtypInteger32: "Integer32",
	PtypFloating32: "Floating32", PtypFloating64: "Floating64", PtypCurrency: "Currency", PtypFloatingTime: "FloatingTime",
	PtypErrorCode: "ErrorCode", PtypBoolean: "Boolean", PtypObject: "Object", PtypInteger64: "Integer64",
	PtypString8: "String8", PtypString: "String", PtypTime: "Time", PtypGuid: "Guid", PtypServerId: "ServerId",
	PtypRestriction: "Restriction", PtypRuleAction: "RuleAction", PtypBinary: "Binary",
}

var typesByName = func() map[string]Type {
	types := map[string]Type{}
	for t := range typeNames {
		types[t.String()] = t
		types[(t | MultiValue).String()] = t | MultiValue
	}
	return types
}()

// String returns the canonical name, such as PtypInteger32.
func (t Type) String() string {
	name, ok := typeNames[t.Single()]
	switch {
	case !ok || t&MultiValueInstance != 0:
		return fmt.Sprintf("0x%04x", uint16(t))
	case t.IsMulti():
		return "PtypMultiple" + name
	}
	return "Ptyp" + name
}

// ParseType returns the type of a canonical name.
func ParseType(name string) (Type, error) {
	t, ok := typesByName[name]
	if !ok {
		return 0, fmt.Errorf("%q is no type of MS-OXCDATA §2.11.1", name)
	}
	return t, nil
}
