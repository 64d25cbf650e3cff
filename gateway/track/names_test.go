package track

import (
	"slices"
	"testing"
	"unicode/utf8"
)

// The names of a line are those that it has as JSON, whether it is a simple one or not.
func TestNames(t *testing.T) {
	for line, want := range map[string]struct {
		simple bool
		names  []string
	}{
		`{"level":"info","key":"K","from":"ada@x.example","code":250,"again":false,"cause":null,"message":"delivery"}`: {true, []string{"K", "ada@x.example"}},
		`{"reply":"he said \"from\":\"eve@x.example\", \\","message_id":"<1@x.example>"}`:                              {true, []string{"<1@x.example>"}},
		`{"recipient":"jörg@x.example","octets":-1,"took_ms":1.5e-7}`:                                                  {true, []string{"jörg@x.example"}},
		`{"from":"","key":"K"}`: {true, []string{"K"}},
		`{"key":"K"}`:           {true, []string{"K"}},
		`{"transaction":"t.1","from":"\"a b\"@x.example"}`: {false, []string{"t.1", `"a b"@x.example`}},
		`{"stores":["a","b"],"key":"K"}`:                   {false, []string{"K"}},
		`{"peer":{"key":"other"},"key":"K"}`:               {false, []string{"K"}},
		`{"KEY":"K"}`:                                      {false, []string{"K"}},
		`{ "key": "K" }`:                                   {false, []string{"K"}},
		`{}`:                                               {false, nil},
	} {
		_, simple := simpleNames([]byte(line))
		names, err := namesOf([]byte(line))
		names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
		if simple != want.simple || err != nil || !slices.Equal(names, want.names) {
			t.Errorf("%s: simple %t, %q, %v", line, simple, names, err)
		}
	}
	for _, line := range []string{``, `{`, `{"key"`, `{"key":`, `{"key":"K`, `{"key":"K"`, `{"key":"K",`, `{"key":"K",}`, `{"key":"K\`, `{"a":}`, `"key"`, `[]`} {
		if names, err := namesOf([]byte(line)); err == nil {
			t.Errorf("%s: %q", line, names)
		}
	}
}

// FuzzNames: what is found in a simple line is what there is as JSON.
func FuzzNames(f *testing.F) {
	f.Add([]byte(`{"level":"info","key":"K","from":"ada@x.example","code":250,"again":false,"message":"delivery"}`))
	f.Add([]byte(`{"reply":"\"from\":\"eve\"","recipient":"bob@x.example"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		names, simple := simpleNames(line)
		e, err := parse(line)
		if !simple || err != nil || !utf8.Valid(line) {
			return // what is no JSON is found by nobody, and the log replaces what is no UTF-8
		}
		for _, name := range e.names() {
			if name != "" && !slices.Contains(names, name) {
				t.Errorf("%q is not among %q", name, names)
			}
		}
	})
}
