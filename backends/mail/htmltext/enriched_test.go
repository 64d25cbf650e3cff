package htmltext

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEnriched(t *testing.T) {
	for enriched, want := range map[string]string{
		"": "",
		"<bold>Now</bold> is the time\r\nfor <<all>\r\n\r\n\r\nmen": "<b>Now</b> is the time\r\nfor &lt;all&gt;<br>\r\n<br>\r\nmen",
		"<color><param>red</param>Blood</color> & <unknown>x":       "Blood &amp; x",
		"<nofill>a\r\nb</nofill>\r\nc":                              "a<br>\r\nb\r\nc",
		"a < b <bold>c":                                             "a &lt; b <b>c</b>",
		"<italic><bold>a</italic>b":                                 "<i><b>ab</b></i>",
		"a<bo":                                                      "a&lt;bo",
		"<param>never ended":                                        "",
	} {
		var b strings.Builder
		if err := Enriched(&b, iotest.OneByteReader(strings.NewReader(enriched))); err != nil {
			t.Fatal(err)
		}
		got := strings.TrimSuffix(strings.TrimPrefix(b.String(), "<html><body>\r\n"), "\r\n</body></html>\r\n")
		if got != want {
			t.Errorf("%q: %q, want %q", enriched, got, want)
		}
	}
	if err := Enriched(io.Discard, iotest.ErrReader(errors.ErrUnsupported)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if err := Enriched(failing{}, strings.NewReader("text")); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// TestToEnriched: commands are balanced, and what they say is what HTML said.
func TestToEnriched(t *testing.T) {
	for html, want := range map[string]string{
		"": "",
		"<p><b>Now</b> is <i>the <u>time</u></i></p><p>for &lt;all&gt;<br>men": "<bold>Now</bold> is <italic>the <underline>time</underline></italic>\r\n\r\n\r\nfor <<all>\r\n\r\nmen\r\n\r\n",
		"<b>a<i>b</b>c</i>d":                  "<bold>a<italic>b</italic></bold><italic>c</italic>d\r\n\r\n",
		"<b></b><i><b>x":                      "<italic><bold>x\r\n\r\n</bold></italic>",
		"<blockquote>said</blockquote>answer": "<excerpt>said</excerpt>\r\n\r\n\r\nanswer\r\n\r\n",
		"</b>a":                               "a\r\n\r\n",
		"<a href='http://a.example/'>b</a>":   "b <<http://a.example/>\r\n\r\n",
	} {
		var b strings.Builder
		if err := ToEnriched(&b, iotest.OneByteReader(strings.NewReader(html))); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != want {
			t.Errorf("%q: %q, want %q", html, got, want)
		}
	}
	// There and back: the text stays.
	var enriched, html, text strings.Builder
	err := errors.Join(
		ToEnriched(&enriched, strings.NewReader("<p>one <b>two</b><br>three</p><pre>a  b\nc</pre>")),
		Enriched(&html, strings.NewReader(enriched.String())), Text(&text, strings.NewReader(html.String())))
	if want := "one two\r\nthree\r\n\r\na b\r\nc\r\n"; err != nil || text.String() != want {
		t.Errorf("%q by %q and %q, want %q: %v", text.String(), enriched.String(), html.String(), want, err)
	}
	if err := ToEnriched(io.Discard, iotest.ErrReader(errors.ErrUnsupported)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// FuzzToEnriched: whatever HTML becomes is bounded, and has an end for each beginning.
func FuzzToEnriched(f *testing.F) {
	f.Add("<b>a<i>b</b>c</i>d<blockquote><pre>x\ny</pre>")
	f.Fuzz(func(t *testing.T, html string) {
		var b strings.Builder
		if err := ToEnriched(&b, strings.NewReader(html)); err != nil {
			t.Fatal(err)
		}
		var open []string
		for _, piece := range strings.Split(strings.ReplaceAll(b.String(), "<<", ""), "<")[1:] {
			name, _, _ := strings.Cut(piece, ">")
			if closing, is := strings.CutPrefix(name, "/"); !is {
				open = append(open, name)
			} else if n := len(open) - 1; n < 0 || open[n] != closing {
				t.Fatalf("%q of %q closes what is not open", closing, b.String())
			} else {
				open = open[:n]
			}
		}
		if len(open) > 0 {
			t.Errorf("%q stays open", b.String())
		}
	})
}
