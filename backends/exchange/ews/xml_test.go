package ews

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// walk reads a document with the scanner: what begins and ends, and the text of elements that have no others in them.
func walk(r io.Reader) (out []string, err error) {
	s := newScanner(r)
	for {
		begins, err := s.next()
		if err == io.EOF {
			return out, nil
		} else if err != nil {
			return out, err
		}
		if !begins {
			out = append(out, "/"+s.name.local)
			continue
		}
		line := s.name.space + "|" + s.name.local
		for _, a := range s.attributes {
			line += fmt.Sprintf(" %s=%q", a.name, a.value)
		}
		out = append(out, line)
	}
}

func TestScanner(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"namespaces", `<a xmlns="u:1" xmlns:p="u:2"><p:b/><c xmlns="u:3"><d/></c><e></e></a>`, "u:1|a u:2|b /b u:3|c u:3|d /d /c u:1|e /e /a"},
		{"attributes", "<a b = 'x&amp;&#65;\"' c=\"&#x20AC;\"\t/>", `|a b="x&A\"" c="€" /a`},
		{"what is passed over", "\ufeff<?xml version='1.0' encoding=\"UTF-8\"?><!-- <x> --><a><?p <y> ?>text<!----><b/><![CDATA[<c/>]]></a>\n<!-- -->", "|a |b /b /a"},
		{"a character that is none", `<a b="&#x1F;"/>`, `|a b="` + "\ufffd" + `" /a`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(test.in), iotest.OneByteReader(strings.NewReader(test.in))} {
				if out, err := walk(r); err != nil || strings.Join(out, " ") != test.want {
					t.Errorf("%q, %v", out, err)
				}
			}
		})
	}
}

func TestHostileXML(t *testing.T) {
	for name, in := range map[string]string{
		"a document type":         `<!DOCTYPE a [<!ENTITY x "y">]><a/>`,
		"an entity":               `<a b="&x;"/>`,
		"a reference without end": `<a b="&` + strings.Repeat("a", 1<<20) + `"/>`,
		"too deep":                strings.Repeat("<a>", depthMost+1),
		"too many attributes":     "<a " + strings.Repeat(`b="c" `, attributesMost+1) + "/>",
		"attributes too long":     `<a b="` + strings.Repeat("x", valueMost+1) + `"/>`,
		"a name too long":         "<" + strings.Repeat("a", nameMost+1) + "/>",
		"a prefix of nothing":     "<p:a/>",
		"another end":             "<a></b>",
		"two roots":               "<a/><b/>",
		"text outside":            "<a/>x",
		"text before":             "x<a/>",
		"another encoding":        `<?xml version="1.0" encoding="utf-16"?><a/>`,
		"a tag in a value":        `<a b="<c/>"/>`,
		"no quotes":               `<a b=c/>`,
		"no name":                 `< a/>`,
	} {
		if _, err := walk(strings.NewReader(in)); !errors.Is(err, ErrXML) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := `<?xml version="1.0"?><a xmlns:p="u"><p:b c="d&amp;"/><![CDATA[x]]><!-- y --></a>`
	for n := range len(whole) {
		if _, err := walk(strings.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", whole[:n], err)
		}
	}
}

// TestText: a text comes in pieces, whatever it is written as, and the element has ended with it.
func TestText(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 10_000)
	for _, test := range []struct{ in, want string }{
		{"<a>x&lt;y<![CDATA[<z>&amp;]]]]><![CDATA[>]]><!-- no --> w&#10;</a>", "x<y<z>&amp;]]> w\n"},
		{"<a/>", ""},
		{"<a></a>", ""},
		{"<a>" + long + "</a>", long},
		{"<a><![CDATA[" + long + "]]></a>", long},
	} {
		for _, r := range []io.Reader{strings.NewReader("<r>" + test.in + "<b/></r>"), iotest.HalfReader(strings.NewReader("<r>" + test.in + "<b/></r>"))} {
			s := newScanner(r)
			for range 2 {
				if begins, err := s.next(); !begins || err != nil {
					t.Fatal(begins, err)
				}
			}
			text, err := s.text(1 << 20)
			if err != nil || text != test.want {
				t.Errorf("%.40q: %.40q, %v", test.in, text, err)
			}
			if begins, err := s.next(); err != nil || !begins || s.name.local != "b" {
				t.Errorf("%.40q: behind it %v %s %v", test.in, begins, s.name.local, err)
			}
		}
	}
	for _, in := range []string{"<a>12345</a>", "<a>x<b/></a>", "<a>x", "<a>x&", "<a><![CDATA[x]]", "<a>x</b>"} {
		s := newScanner(strings.NewReader(in))
		if _, err := s.next(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.text(4); err == nil {
			t.Errorf("%q: no error", in)
		}
	}
}

// TestLeave: what is not read is passed over, also in the middle of a text.
func TestLeave(t *testing.T) {
	for _, in := range []string{"<r><a>xyz</a><b/></r>", "<r><a><![CDATA[xyz</a>]]></a><b/></r>", "<r><a/><b/></r>", "<r><a>x<c><d/></c></a><b/></r>"} {
		s := newScanner(strings.NewReader(in))
		for range 2 {
			if _, err := s.next(); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = s.stream().Read(make([]byte, 1))
		if err := s.leave(1); err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if begins, err := s.next(); err != nil || !begins || s.name.local != "b" {
			t.Errorf("%q: %v %s %v", in, begins, s.name.local, err)
		}
	}
}

// theirs reads a document with encoding/xml, as walk does.
func theirs(octets []byte) (out []string, err error) {
	d := xml.NewDecoder(strings.NewReader(string(octets)))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return out, nil
		} else if err != nil {
			return out, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			line := token.Name.Space + "|" + token.Name.Local
			for _, a := range token.Attr {
				if a.Name.Space == "" && a.Name.Local != "xmlns" {
					line += fmt.Sprintf(" %s=%q", a.Name.Local, a.Value)
				}
			}
			out = append(out, line)
		case xml.EndElement:
			out = append(out, "/"+token.Name.Local)
		}
	}
}

// FuzzScanner: whatever comes ends, and what both take they take for the same.
func FuzzScanner(f *testing.F) {
	for _, one := range recordings(f) {
		f.Add([]byte(one.Response.Body))
	}
	f.Add([]byte("<a xmlns='u'><b c='&lt;'/><![CDATA[x]]></a>"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		ours, err := walk(strings.NewReader(string(octets)))
		if err != nil {
			return
		}
		want, err := theirs(octets)
		// encoding/xml does not read what XML 1.0 does not allow, normalizes line ends, and takes a colon at the ends of a name for no prefix.
		if err != nil || strings.ContainsAny(string(octets), "\r&") || strings.Contains(string(octets), ":") && !slices.Equal(ours, want) {
			return
		}
		if !slices.Equal(ours, want) {
			t.Errorf("%q: %q, and encoding/xml has %q", octets, ours, want)
		}
	})
}

// FuzzReply: whatever a server says, reading it ends, and no operation succeeds without what it must have.
func FuzzReply(f *testing.F) {
	all := recordings(f)
	for name, one := range all {
		f.Add(name, []byte(one.Response.Body))
	}
	f.Fuzz(func(t *testing.T, name string, octets []byte) {
		one, there := all[name]
		if !there {
			return
		}
		one.Response.Body = string(octets)
		c, _ := player(t, one)
		said, err := read(t.Context(), c, one)
		if err == nil && said == "" && !strings.Contains(string(octets), "Success") {
			t.Errorf("%q succeeds with %q", name, octets)
		}
	})
}
