package content_test

import (
	"mime"
	"regexp"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/gateway/content"
)

// TestNamesThatAreNone: a From whose name is not RFC 5322 is the account's where everything in it
// that has an at sign is. The field stays as it came.
func TestNamesThatAreNone(t *testing.T) {
	for name, from := range map[string]string{
		"the address as the name":           "alice@sakes.example <alice@sakes.example>",
		"in apostrophes":                    "'alice@sakes.example' <alice@sakes.example>",
		"another own address as the name":   "x@shared.example <alice@sakes.example>",
		"a comma":                           "Doe, Chris <alice@sakes.example>",
		"brackets":                          "[Scanner 2] <alice@sakes.example>",
		"a domain of Windows":               `SAKES\chris <alice@sakes.example>`,
		"a name in an old charset":          "J\xf6rg <alice@sakes.example>",
		"a name in UTF-8 with a dot":        "Jörg. <alice@sakes.example>",
		"an encoded word with a comma":      "=?utf-8?q?Doe,_Chris?= <alice@sakes.example>",
		"an encoded word with a blank":      "=?utf-8?q?Doe Chris?= <alice@sakes.example>",
		"an encoded word with the address":  "=?utf-8?q?alice@sakes.example?= <alice@sakes.example>",
		"an encoded word in a comma's name": "Doe, =?utf-8?b?Q2hyaXM=?= <alice@sakes.example>",
		"an encoded word without an end":    "=?utf-8?q?Chris <alice@sakes.example>",
		"a quote that does not end":         `5" Floppy, Inc <alice@sakes.example>`,
		"a colon":                           "Scanner: Chris <alice@sakes.example>",
		"a semicolon":                       "Chris; Office <alice@sakes.example>",
		"a smile":                           "Chris :) <alice@sakes.example>",
		"dots":                              "Chris.. J.R. <alice@sakes.example>",
		"a comment":                         "Doe, Chris (Sales) <alice@sakes.example>",
		"no brackets":                       "Chris alice@sakes.example",
		"folded":                            "Doe,\r\n Chris\r\n <alice@sakes.example>",
		"blanks in the brackets":            "Doe, Chris < alice@sakes.example >",
		"a name behind":                     "<alice@sakes.example> Chris",
		"a comma at the end":                "Doe, Chris <alice@sakes.example>,",
		"several":                           "Doe, Chris <alice@sakes.example>, Smith, Pat <x@shared.example>",
		"a list's name":                     "<Chris> <alice@sakes.example>",
	} {
		t.Run(name, func(t *testing.T) {
			field := "From: " + from + "\r\n"
			got, err := apply(field + date + id + "\r\n")
			if err != nil || got != field+date+id+"\r\n" {
				t.Errorf("%v\ngot %q", err, got)
			}
		})
	}
}

// TestForgeries: however a From is bent, it is refused where somebody could see a foreign address.
func TestForgeries(t *testing.T) {
	for name, from := range map[string]string{
		"a foreign name that is not quoted":        "bob@far.example <alice@sakes.example>",
		"in apostrophes":                           "'bob@far.example' <alice@sakes.example>",
		"behind a comma":                           "Doe, bob@far.example <alice@sakes.example>",
		"a foreign address and an own name":        "Doe, Chris alice@sakes.example <bob@far.example>",
		"a neighbour":                              "Doe, Chris <bob@sakes.example>",
		"the first of two":                         "Doe, Chris <bob@far.example>, <alice@sakes.example>",
		"the second of two":                        "Doe, Chris <alice@sakes.example>, <bob@far.example>",
		"a route":                                  "Doe, Chris <@far.example:alice@sakes.example>",
		"two at signs":                             "Doe, Chris <bob@far.example@sakes.example>",
		"own and foreign in one":                   "Doe, Chris <alice@sakes.example@far.example>",
		"a quoted local part":                      `Doe, Chris <"alice@sakes.example"@far.example>`,
		"a domain in a quote":                      `Doe, Chris <bob"@far.example">, alice@sakes.example`,
		"blanks around the at sign":                "Doe, Chris <bob @ far.example> alice@sakes.example",
		"a domain that a comment parts":            "Doe, Chris <alice@sakes.example(x).far.example>",
		"a domain that a blank parts":              "Doe, Chris <alice@sakes.example .far.example>",
		"a domain that a backslash parts":          `Doe, Chris <alice@sakes.example\.far.example>`,
		"a domain that a quote parts":              `Doe, Chris <alice@sakes.example"".far.example>`,
		"a local part that a comment parts":        "Doe, Chris <bob.(x)alice@sakes.example>",
		"a local part that a blank parts":          "Doe, Chris <bob. alice@sakes.example>",
		"a local part that a quote parts":          `Doe, Chris <"bob."alice@sakes.example>`,
		"a domain behind a no-break space":         "Doe, Chris <alice@sakes.example\u00a0.far.example>",
		"a wide at sign":                           "Doe, bob\uff20far.example <alice@sakes.example>",
		"a small at sign":                          "Doe, bob\ufe6bfar.example <alice@sakes.example>",
		"an encoded word":                          "Doe, =?utf-8?q?bob=40far.example?= <alice@sakes.example>",
		"an encoded word in base64":                "Doe, =?utf-8?b?Ym9iQGZhci5leGFtcGxl?= <alice@sakes.example>",
		"encoded words that are joined":            "Doe, =?utf-8?q?bob=40?= =?utf-8?q?far.example?= <alice@sakes.example>",
		"an encoded word with a bare at sign":      "Doe, =?utf-8?q?bob@far.example?= <alice@sakes.example>",
		"an at sign in a charset's name":           "Doe, =?bob@far.example?q?alice=40sakes.example?= <alice@sakes.example>",
		"an encoded word as the address":           "Doe, Chris <=?utf-8?q?bob=40far.example?=>, alice@sakes.example",
		"the own address in a comment alone":       "Doe, bob (alice@sakes.example)",
		"a foreign one in a comment":               "Doe, Chris (bob@far.example) <alice@sakes.example>",
		"brackets in brackets":                     "Doe, Chris <<alice@sakes.example>",
		"a bracket that does not end":              "Doe, Chris <alice@sakes.example",
		"a domain that a comment in a quote parts": `Doe" alice@sakes.example(x).far.example`,
		"a domain in a comment that one parts":     "Doe, (alice@sakes.example(x).far.example) <alice@sakes.example>",
		"comments that lie too deep":               "Doe, (((((x))))) <alice@sakes.example>",
		"a comment that does not end":              "Doe, Chris <alice@sakes.example> (",
		"NUL":                                      "Doe, Chris <alice@sakes.example\x00.far.example>",
		"another charset's blank":                  "Doe, Chris <alice@sakes.example\xa0.far.example>",
		"no address":                               "Doe, Chris",
		"a domain that is none":                    "Doe, Chris <alice@>",
		"a group's foreign member":                 "Doe, us: bob@far.example;, <alice@sakes.example>",
		"a percent sign":                           "Doe, Chris <alice%far.example@sakes.example>",
		"a foreign one that a folded line parts":   "Doe, bob@\r\n far.example <alice@sakes.example>",
		"letters that are folded to the domain's":  "Doe, Chris <alice@sakes.example.>",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := apply("From: " + from + "\r\n\r\n"); err == nil {
				t.Errorf("%q is taken", from)
			}
			if _, err := apply("From: alice@sakes.example\r\nSender: " + from + "\r\n\r\n"); err == nil {
				t.Errorf("%q is taken as a Sender", from)
			}
		})
	}
}

// FuzzForgeries puts fields together and reads them as careless programs do: with encoded words,
// comments, quotes and backslashes taken out or not, and everything around an at sign as the
// address. A field that the strict reader refuses and that is taken even so shows them no foreign
// address.
func FuzzForgeries(f *testing.F) {
	for _, seed := range []string{
		"Doe, Chris <alice@sakes.example>", `1a"00000 AliCe@sAkes.eXAmple(0)00000`, "00aaaaa=?(0000?q?0?=)AliCe@sAkes.eXAmple", "a@b <alice@sakes.example>", `"bob@far.example"x <alice@sakes.example>`, "(a@b) , <alice@sakes.example(x).far>",
		"=?utf-8?q?bob=40far.example?=, alice@sakes.example", "=?utf-8?q?bob=(x)40far.example?=, alice@sakes.example", `SAKES\bob@far.example, <alice@sakes.example>`, "bob @ far.example, <alice@sakes.example>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		boxes, err := content.Mailboxes(header.Field{Name: "From", Raw: []byte("From:" + value)})
		if err != nil {
			return
		}
		own := submission().MayWrite
		for _, box := range boxes {
			if !own(box) {
				return
			}
		}
		if _, err := content.StrictMailboxes(header.Field{Name: "From", Raw: []byte("From:" + value)}); err == nil {
			return // as ever
		}
		value = strings.NewReplacer("\r", "", "\n", "").Replace(value)
		for _, careless := range carelessly(value) {
			for _, seen := range addressLike.FindAllString(careless, -1) {
				seen = strings.Trim(seen, "'")
				if box, err := address.Parse(seen); err != nil || !own(box) {
					t.Fatalf("%q shows %q in %q", value, seen, careless)
				}
			}
		}
	})
}

// carelessly gives what programs make of a value that know little of RFC 5322 §3.2 and RFC 2047.
func carelessly(value string) (all []string) {
	all = []string{value, decoded(value)}
	for _, text := range all {
		all = append(all, noQuotes.Replace(text))
	}
	for _, text := range all {
		for bare := comment.ReplaceAllString(text, ""); bare != text; bare = comment.ReplaceAllString(text, "") {
			text = bare
			all = append(all, text)
		}
	}
	for _, text := range all {
		all = append(all, decoded(text), blanks.ReplaceAllString(text, "$1"))
	}
	for i, text := range all {
		all[i] = encoded.ReplaceAllString(text, "")
	}
	return all
}

func decoded(value string) string {
	if text, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		return text
	}
	return value
}

var (
	comment     = regexp.MustCompile(`\([^()]*\)`)
	noQuotes    = strings.NewReplacer(`"`, "", `\`, "")
	blanks      = regexp.MustCompile(`[ \t]*([.@])[ \t]*`)
	encoded     = regexp.MustCompile(`=\?[^?@]*\?[bBqQ]\?[^?]*\?=`)
	addressLike = regexp.MustCompile(`[^\s<>()\[\],;:"\\]+@[^\s<>()\[\],;:"\\]+`)
)
