package mapi

import "sync"

//go:generate go run ./internal/names properties.txt tags.go

// Definition is what MS-OXPROPS says of a property.
type Definition struct {
	Name    string // the canonical name
	Tag     Tag    // of a named property: the type alone
	Named   Named
	Section string // of MS-OXPROPS as of 2020, and "-" if it was in an earlier edition alone
}

// Key returns what the property is found by.
func (d Definition) Key() Key {
	if d.Named.IsZero() {
		return d.Tag
	}
	return d.Named
}

// known are the definitions by what they are looked for.
type known struct {
	byName map[string]Definition
	byTag  map[Tag]Definition
	byKey  map[key]Definition
}

var lookup = sync.OnceValue(func() known {
	k := known{map[string]Definition{}, map[Tag]Definition{}, map[key]Definition{}}
	for _, d := range definitions {
		k.byName[d.Name] = d
		// An id can be that of several properties, which are of different objects: the first counts.
		if _, taken := k.byKey[d.Key().key()]; !taken {
			k.byKey[d.Key().key()] = d
		}
		if _, taken := k.byTag[d.Tag]; !taken && d.Named.IsZero() {
			k.byTag[d.Tag] = d
		}
	}
	return k
})

// Lookup returns what a tag stands for. Where properties share an id the type decides.
func Lookup(t Tag) (Definition, bool) {
	k := lookup()
	for _, other := range []Tag{t, t.WithType(PtypString), t.WithType(t.Type().Single())} {
		if d, ok := k.byTag[other]; ok {
			return d, true
		}
	}
	d, ok := k.byKey[t.key()]
	return d, ok
}

// LookupNamed returns what a named property stands for.
func LookupNamed(n Named) (Definition, bool) {
	d, ok := lookup().byKey[n.key()]
	return d, ok
}

// LookupName returns the property of a canonical name, such as PidTagSubject.
func LookupName(name string) (Definition, bool) {
	d, ok := lookup().byName[name]
	return d, ok
}

// Name returns the canonical name, and "" if there is none.
func (t Tag) Name() string {
	d, _ := Lookup(t)
	return d.Name
}
