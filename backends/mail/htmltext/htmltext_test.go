package htmltext

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func textOf(t testing.TB, html string) string {
	t.Helper()
	var b strings.Builder
	if err := Text(&b, iotest.OneByteReader(strings.NewReader(html))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	for html, want := range map[string]string{
		"":                                    "",
		"plain":                               "plain\r\n",
		"<p>one</p>\n<p>two</p>":              "one\r\n\r\ntwo\r\n",
		"<div>one</div><div>two</div>":        "one\r\ntwo\r\n",
		"one<br>two<br><br>three":             "one\r\ntwo\r\n\r\nthree\r\n",
		"  a \r\n b&nbsp; c":                  "a b  c\r\n",
		"a <b>bold</b> word":                  "a bold word\r\n",
		"1 < 2 &amp;&lt;&#228;&auml;&none; &": "1 < 2 &<\u00e4\u00e4&none; &\r\n",
		"<head><title>x</title><style>p { a: b }</style></head><body>text":             "text\r\n",
		"a<script>if (1 < 2) { '</p>' }</SCRIPT >b<!-- <p>no-- -> -->c":                "abc\r\n",
		"<a href='https://a.example/x?a=1&amp;b=2'>here</a>.":                          "here <https://a.example/x?a=1&b=2>.\r\n",
		"<a href=\"https://a.example/\">https://a.example</a>":                         "https://a.example\r\n",
		"<a href=mailto:a@b.example>a@b.example</a>":                                   "a@b.example\r\n",
		"<a href='javascript:alert(1)'>x</a><a href='#top'>y</a>":                      "xy\r\n",
		"<a title='>' href=http://a>x</a>":                                             "x <http://a>\r\n",
		"a<ul><li>one<li>two<ol><li>x</li><li>y</ol></ul>b":                            "a\r\n\r\n* one\r\n* two\r\n  1. x\r\n  2. y\r\n\r\nb\r\n",
		"<ul><li><p>one</p><p>more</p></ul>":                                           "* one\r\n\r\n  more\r\n",
		"<table><tr><td>a</td><td>b</td></tr><tr><th>c<th>d</table>":                   "a \tb\r\nc \td\r\n",
		"<table>\n<tr>\n <td><p>a</p></td>\n <td><p>b</p></td><td></td></tr></table>x": "a \tb\r\nx\r\n",
		"<blockquote>a<br>b<blockquote>c</blockquote></blockquote>d":                   "> a\r\n> b\r\n>\r\n> > c\r\n\r\nd\r\n",
		"<pre>a  b\r\n c</pre>":                                                        "a  b\r\n c\r\n",
		"x<hr>y":                                                                       "x\r\n----------\r\ny\r\n",
		"<img src=x alt='a picture'><img src=y>":                                       "[a picture]\r\n",
		"a<p":                                                                          "a\r\n",
		"a<!doctype html>b<?xml?>c":                                                    "abc\r\n",
		"<p style=\"font: 'x>y'\" class=a>b":                                           "b\r\n",
	} {
		if got := textOf(t, html); got != want {
			t.Errorf("%q: %q, want %q", html, got, want)
		}
	}
}

// TestErrors: what cannot be read or written is told.
func TestErrors(t *testing.T) {
	for _, start := range []string{"a", "<", "<a", "<!--", "<script>", "<a href="} {
		r := io.MultiReader(strings.NewReader(start), iotest.ErrReader(errors.ErrUnsupported))
		if err := Text(io.Discard, r); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%q: %v", start, err)
		}
	}
	for _, f := range []func(io.Writer, io.Reader) error{Text, HTML} {
		if err := f(failing{}, strings.NewReader("text")); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	}
	if err := HTML(io.Discard, iotest.ErrReader(errors.ErrUnsupported)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	p := NewWrapper(failing{}, 10)
	if _, err := p.Write([]byte("x\n")); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }

// TestHTML: text as HTML is the same text again.
func TestHTML(t *testing.T) {
	text := "a < b & c\r\n  two  blanks\r\n\r\nthe end\r\n"
	var b strings.Builder
	if err := HTML(&b, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if got := textOf(t, b.String()); got != text {
		t.Errorf("%q from %q", got, b.String())
	}
}

func wrapped(t testing.TB, text string, columns int) string {
	t.Helper()
	var b strings.Builder
	p := NewWrapper(&b, columns)
	_, err := p.Write([]byte(text))
	if err := errors.Join(err, p.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"short\r\n":                     "short\r\n",
		"one two three four":            "one two\r\nthree four",
		"one two\r\nthree\r\n":          "one two\r\nthree\r\n",
		"averylongwordindeed it is\r\n": "averylongwordindeed\r\nit is\r\n",
		"> quoted words here\r\n":       "> quoted\r\n> words\r\n> here\r\n",
		"\u00e4\u00e4\u00e4 \u00e4\u00e4\u00e4 \u00e4\u00e4\r\n": "\u00e4\u00e4\u00e4 \u00e4\u00e4\u00e4 \u00e4\u00e4\r\n",
		"  two blanks in front\n":                                "  two\r\nblanks in\r\nfront\n",
	} {
		if got := wrapped(t, text, 10); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	long := wrapped(t, strings.Repeat("\u00e4", 3000), 72)
	for line := range strings.SplitSeq(long, "\r\n") {
		if len(line) > octetsMost || !utf8.ValidString(line) {
			t.Errorf("a line of %d octets", len(line))
		}
	}
	if strings.ReplaceAll(long, "\r\n", "") != strings.Repeat("\u00e4", 3000) {
		t.Error("letters are lost")
	}
}

// FuzzText: whatever the HTML is, it becomes text, and that becomes HTML, and lines.
func FuzzText(f *testing.F) {
	f.Add("<ul><li>a<table><tr><td>b<td><a href='http://x'>c</a><pre>d\n</pre><blockquote>&amp;")
	f.Add("<a href=\"x>")
	f.Fuzz(func(t *testing.T, source string) {
		text := textOf(t, source)
		if strings.Count(text, "\n") != strings.Count(text, "\r\n") {
			t.Errorf("a bare line end in %q", text)
		}
		if err := errors.Join(HTML(io.Discard, strings.NewReader(source)), Enriched(io.Discard, strings.NewReader(source))); err != nil {
			t.Error(err)
		}
		words := strings.NewReplacer("\r", "", "\n", "", " ", "", ">", "")
		if got := wrapped(t, text, 20); words.Replace(got) != words.Replace(text) {
			t.Errorf("%q was wrapped as %q", text, got)
		}
	})
}
