package mapi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/dipylon/dipylon/backends/mail/codepage"
)

// dumpedTime, dumpedError and dumpedString8 are values that are objects in a dump.
type (
	dumpedTime struct {
		Filetime uint64 `json:"filetime"`
		UTC      string `json:"utc,omitempty"`
	}
	dumpedError struct {
		Error string `json:"error"`
	}
	dumpedString8 struct {
		Text     string `json:"text,omitempty"`
		Hex      string `json:"hex,omitempty"` // if the octets are not those of a text in the code page
		CodePage int    `json:"codepage"`
	}
)

// marshal returns JSON for people: with no more escapes than JSON needs.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// dumpValue returns a value as JSON.
func dumpValue(v Value) (json.RawMessage, error) {
	switch v := v.(type) {
	case Null:
		return json.RawMessage("null"), nil
	case Boolean, Integer16, Integer32, Integer64, Currency, String:
		return marshal(v)
	case Floating32:
		return dumpFloat(float64(v), 32)
	case Floating64:
		return dumpFloat(float64(v), 64)
	case FloatingTime:
		return dumpFloat(float64(v), 64)
	case ErrorCode:
		return marshal(dumpedError{v.String()})
	case Time:
		return marshal(dumpedTime{uint64(v), v.String()})
	case GUID:
		return marshal(v.String())
	case String8:
		return marshal(v.dumped())
	case Binary:
		return marshal(hex.EncodeToString(v))
	case Object:
		return marshal(hex.EncodeToString(v))
	case ServerID:
		return marshal(hex.EncodeToString(v))
	case Streamed:
		return dumpStreamed(v)
	}
	return dumpOther(v)
}

// wide is how restrictions and actions are written in a dump: as extended rules have them, MS-OXORULE §2.2.4.
var wide = Format{Wide: true}

// dumpOther is for the values of a property that has many, and for restrictions and actions, in hex.
func dumpOther(v Value) (json.RawMessage, error) {
	if many, ok := v.(Many); ok {
		return dumpMany(many)
	}
	e := NewEncoder(nil, wide)
	e.Value(v)
	if e.Err() != nil {
		return nil, e.Err()
	}
	return marshal(hex.EncodeToString(e.Octets()))
}

func dumpMany(many Many) (json.RawMessage, error) {
	all := []json.RawMessage{}
	for _, v := range many.Values() {
		one, err := dumpValue(v)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return marshal(all)
}

// dumpFloat writes a number that JSON has, and others as a text.
func dumpFloat(f float64, bits int) (json.RawMessage, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return marshal(fmt.Sprint(f))
	}
	return strconv.AppendFloat(nil, f, 'g', -1, bits), nil
}

func (s String8) dumped() dumpedString8 {
	text := s.Text()
	if again, err := NewString8(text, s.CodePage); err != nil || again != s {
		return dumpedString8{Hex: hex.EncodeToString([]byte(s.Octets)), CodePage: s.CodePage}
	}
	return dumpedString8{Text: text, CodePage: s.CodePage}
}

func dumpStreamed(v Streamed) (json.RawMessage, error) {
	octets, err := readContent(v.Content)
	if err != nil {
		return nil, err
	}
	return dumpValue(ValueOf(v.Of, octets, v.CodePage))
}

// ValueOf makes the value in memory of the octets of a string, object or binary, as a [Streamed] one has them.
func ValueOf(t Type, octets []byte, codePage int) Value {
	switch t {
	case PtypString:
		return String(textOfUTF16(octets))
	case PtypString8:
		return String8{string(octets), codePage}
	case PtypObject:
		return Object(octets)
	}
	return Binary(octets)
}

// undumpValue makes a value of JSON. An error in the place of a value is one, whatever the type.
func undumpValue(t Type, raw json.RawMessage) (Value, error) {
	var failed dumpedError
	if json.Unmarshal(raw, &failed) == nil && failed.Error != "" {
		code, err := strconv.ParseUint(failed.Error, 0, 32)
		if err != nil {
			return nil, errors.New("the error is no number such as 0x8004010f")
		}
		return ErrorCode(code), nil
	}
	if t.IsMulti() {
		return undumpMany(t, raw)
	}
	switch t {
	case PtypNull:
		return Null{}, nil
	case PtypBoolean:
		return undumpAs[Boolean](raw)
	case PtypInteger16:
		return undumpAs[Integer16](raw)
	case PtypInteger32:
		return undumpAs[Integer32](raw)
	case PtypInteger64:
		return undumpAs[Integer64](raw)
	case PtypCurrency:
		return undumpAs[Currency](raw)
	case PtypFloating32, PtypFloating64, PtypFloatingTime:
		return undumpFloat(t, raw)
	case PtypString:
		return undumpAs[String](raw)
	case PtypString8:
		return undumpString8(raw)
	case PtypTime:
		return undumpTime(raw)
	}
	return undumpText(t, raw)
}

func undumpAs[T Value](raw json.RawMessage) (Value, error) {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	return v, nil
}

func undumpFloat(t Type, raw json.RawMessage) (Value, error) {
	text := string(raw)
	if quoted := ""; json.Unmarshal(raw, &quoted) == nil {
		text = quoted
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, err
	}
	switch t {
	case PtypFloating32:
		return Floating32(f), nil
	case PtypFloating64:
		return Floating64(f), nil
	}
	return FloatingTime(f), nil
}

// undumpString8 takes a bare string, too: of ASCII alone.
func undumpString8(raw json.RawMessage) (Value, error) {
	if bare := ""; json.Unmarshal(raw, &bare) == nil {
		return NewString8(bare, codepage.ASCII)
	}
	var d dumpedString8
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, err
	}
	if d.Hex == "" {
		return NewString8(d.Text, d.CodePage)
	}
	octets, err := unhex(d.Hex)
	return String8{string(octets), d.CodePage}, err
}

func undumpTime(raw json.RawMessage) (Value, error) {
	var d dumpedTime
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, err
	}
	return Time(d.Filetime), nil
}

// undumpText makes a value that stands in a text.
func undumpText(t Type, raw json.RawMessage) (Value, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, err
	}
	if t == PtypGuid {
		return ParseGUID(text)
	}
	octets, err := unhex(text)
	if err != nil {
		return nil, err
	}
	switch t {
	case PtypBinary:
		return Binary(octets), nil
	case PtypObject:
		return Object(octets), nil
	case PtypServerId:
		return ServerID(octets), nil
	}
	d := NewDecoder(octets, wide)
	v := d.Value(t)
	return v, d.Err()
}

// unhex reads hex.
func unhex(text string) ([]byte, error) {
	octets, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("octets are hex: %w", err)
	}
	return octets, nil
}

func undumpMany(t Type, raw json.RawMessage) (Value, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	values := make([]Value, 0, len(all))
	for _, one := range all {
		v, err := undumpValue(t.Single(), one)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return NewMultiple(t.Single(), values)
}
