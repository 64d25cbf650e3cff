package mapi

import "fmt"

// Multiple are the values of one property that has many.
type Multiple[T single] []T

// single are the values of which a property can have many.
type single interface {
	Integer16 | Integer32 | Integer64 | Floating32 | Floating64 | Currency | FloatingTime | String | String8 | Time | GUID | Binary
	Value
}

// Many is a [Multiple] of whatever type.
type Many interface {
	Value
	Values() []Value
}

// Type is the type of the property.
func (Multiple[T]) Type() Type {
	var one T
	return one.Type() | MultiValue
}

// Values returns the values one by one.
func (m Multiple[T]) Values() []Value {
	values := make([]Value, len(m))
	for i, v := range m {
		values[i] = v
	}
	return values
}

// NewMultiple makes a Multiple of values that all have that type.
func NewMultiple(of Type, values []Value) (Value, error) {
	collect, ok := collectors[of]
	if !ok {
		return nil, fmt.Errorf("many of %s: %w", of, ErrType)
	}
	return collect(values)
}

var collectors = map[Type]func([]Value) (Value, error){
	PtypInteger16: collect[Integer16], PtypInteger32: collect[Integer32], PtypInteger64: collect[Integer64],
	PtypFloating32: collect[Floating32], PtypFloating64: collect[Floating64], PtypCurrency: collect[Currency],
	PtypFloatingTime: collect[FloatingTime], PtypTime: collect[Time], PtypGuid: collect[GUID],
	PtypString: collect[String], PtypString8: collect[String8], PtypBinary: collect[Binary],
}

func collect[T single](values []Value) (Value, error) {
	all := make(Multiple[T], len(values))
	for i, v := range values {
		one, ok := v.(T)
		if !ok {
			return nil, fmt.Errorf("a %s among values of another type: %w", v.Type(), ErrType)
		}
		all[i] = one
	}
	return all, nil
}
