package mapi

import (
	"errors"
	"fmt"
)

// Flags of a row and of a FlaggedPropertyValue, MS-OXCDATA §2.8.1 and §2.11.5.
const (
	flagValue  uint8 = 0x00
	flagNone   uint8 = 0x01
	flagFailed uint8 = 0x0A
)

var errFlag = errors.New("no flag of a row or of a value")

// Row takes a PropertyRow, MS-OXCDATA §2.8.1: the values of the columns that were asked for. A value that is
// not there is nil, and one that could not be had an [ErrorCode]. A column of PtypUnspecified gets the
// type that its value says.
func (d *Decoder) Row(columns []Tag) []Value {
	flag := d.Uint8()
	if flag > flagNone {
		d.fail(fmt.Errorf("0x%02x: %w", flag, errFlag))
	}
	values := make([]Value, 0, len(columns))
	for _, column := range columns {
		if d.err != nil {
			return nil
		}
		values = append(values, d.column(column, flag == flagNone))
	}
	if d.err != nil {
		return nil
	}
	return values
}

func (d *Decoder) column(column Tag, flagged bool) Value {
	if column.Type() == PtypUnspecified {
		column = column.WithType(Type(d.Uint16()))
	}
	if column.Type()&MultiValueInstance != 0 {
		column = column.WithType(column.Type().Single()) // one of its values in each row, MS-OXCTABL §2.2.1.4
	}
	if !flagged {
		return d.valueOf(column)
	}
	switch flag := d.Uint8(); flag {
	case flagValue:
		return d.valueOf(column)
	case flagNone:
		return nil
	case flagFailed:
		return d.valueOf(column.WithType(PtypErrorCode))
	default:
		d.fail(fmt.Errorf("0x%02x: %w", flag, errFlag))
		return nil
	}
}

// Row writes a PropertyRow: in its short form if all values are there.
func (e *Encoder) Row(columns []Tag, values []Value) {
	if len(values) != len(columns) {
		e.fail("%d values for %d columns", len(values), len(columns))
		return
	}
	flag := flagValue
	for i, v := range values {
		if !fits(columns[i], v) {
			flag = flagNone
		}
	}
	e.Uint8(flag)
	for i, v := range values {
		e.column(columns[i], v, flag == flagNone)
	}
}

// fits says whether a value is what the short form of a row has in a column.
func fits(column Tag, v Value) bool {
	if v == nil {
		return false
	}
	return column.Type() == v.Type() || column.Type() == PtypUnspecified
}

func (e *Encoder) column(column Tag, v Value, flagged bool) {
	outer := e.property
	e.property = &Property{Tag: column}
	defer func() { e.property = outer }()
	if column.Type() == PtypUnspecified {
		kind := PtypErrorCode
		if v != nil {
			kind = v.Type()
		}
		e.Uint16(uint16(kind))
	}
	code, failed := v.(ErrorCode)
	switch {
	case v == nil:
		e.Uint8(flagNone)
	case flagged && failed:
		e.Uint8(flagFailed)
		e.Uint32(uint32(code))
	case !fits(column, v):
		e.fail("is a %s", v.Type())
	default:
		if flagged {
			e.Uint8(flagValue)
		}
		e.Value(v)
	}
}
