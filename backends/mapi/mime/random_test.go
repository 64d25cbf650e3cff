package mime

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mail/entity"
)

// TestRandomMessages: of any message addresses, subject, date, texts in every charset, and attached octets are the same
// after the way from MIME to an object and back. Without a flag they are the same hundred each time;
// `go test -run TestRandomMessages -rapid.checks 100000` makes others.
func TestRandomMessages(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = flag.Set("rapid.seed", "0") }()
	}
	rapid.Check(t, func(t *rapid.T) {
		want := drawLetter(t, 0)
		source := want.mime(t)
		m, err := Reader{}.Read(bytes.NewReader(source), int64(len(source)))
		if err != nil {
			t.Fatal(err)
		}
		var written bytes.Buffer
		if err := (Writer{Bcc: true}).Write(&written, m); err != nil {
			t.Fatal(err)
		}
		e, err := entity.Read(bytes.NewReader(written.Bytes()), int64(written.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, heard(t, e)); diff != "" {
			t.Fatalf("%s\nof\n%s\nbecame\n%s", diff, source, written.Bytes())
		}
	})
}

// letter is what a message says.
type letter struct {
	From              entity.Address
	To, Cc, Bcc, Back []entity.Address
	Subject, ID       string
	Sent              time.Time
	Plain, HTML       string // without line ends behind them
	Files             []attachedFile
}

type attachedFile struct {
	Name, ContentID string
	Octets          string
	Message         *letter // in the place of octets
}

// alphabet is a charset with characters of it.
type alphabet struct {
	page    codepage.Page
	letters []rune
}

// alphabets are those of all charsets in which mail comes.
var alphabets = func() (all []alphabet) {
	samples := map[string]string{
		"utf-8": "aZ9 é–Ωשж日本語한국어😀𠀀\u0301\u200d\u200f\ufffc\u00a0\u2028\u0085\ue000", "us-ascii": "aZ9 ~=?_<>@,;:\\\"()[]{}#%&'*+/^`|!$.-",
		"iso-2022-jp": "日本語のテキスト", "shift_jis": "表示とソートｶﾅ能", "euc-jp": "日本語のテキスト", "euc-kr": "안녕하세요세계", "ks_c_5601-1987": "안녕하세요세계",
		"gb18030": "简体中文𠀀€", "gb2312": "简体中文", "big5": "繁體中文功能許蓋",
	}
	for number := range 65536 {
		page, known := codepage.Find(number)
		if same, is := codepage.OfCharset(page.Charset); !known || !is || same != page || !isMailable(page) {
			continue
		}
		a := alphabet{page, []rune("aZ 9~")}
		if sample, is := samples[page.Charset]; is {
			a.letters = append(a.letters, []rune(sample)...)
		} else {
			for octet := 0x80; octet < 0x100; octet++ {
				a.add([]byte{byte(octet)})
			}
		}
		all = append(all, a)
	}
	return all
}()

// isMailable says whether a text of mail can be in a code page: ASCII is what it is (RFC 2045 §2.7).
func isMailable(page codepage.Page) bool {
	octets, err := page.Encode("aZ 9\r\n")
	return err == nil && string(octets) == "aZ 9\r\n"
}

// add adds the character of octets, if there is one that comes back.
func (a *alphabet) add(octets []byte) {
	text, err := a.page.Decode(octets)
	if err != nil || strings.ContainsFunc(text, unicode.IsControl) || strings.Contains(text, "\ufffd") {
		return
	}
	if back, err := a.page.Encode(text); err == nil && bytes.Equal(back, octets) {
		a.letters = append(a.letters, []rune(text)...)
	}
}

func drawAlphabet(t *rapid.T) alphabet { return rapid.SampledFrom(alphabets).Draw(t, "alphabet") }

// words draws a text that neither begins nor ends with a blank.
func (a alphabet) words(t *rapid.T, most int) string {
	text := string(rapid.SliceOfN(rapid.SampledFrom(a.letters), 0, most).Draw(t, "words"))
	return strings.TrimFunc(text, unicode.IsSpace)
}

// lines draws a text of several lines, some of them unkind.
func (a alphabet) lines(t *rapid.T) string {
	unkind := []string{"", ".", "..", "From here", "--", "--=_", "begin 644 a", " ", "\t", "a \t", "=", "=20", ">From", "-- ", strings.Repeat("long ", 150)}
	line := rapid.OneOf(rapid.SampledFrom(unkind), rapid.Map(rapid.SliceOfN(rapid.SampledFrom(a.letters), 0, 60), func(r []rune) string { return string(r) }))
	text := strings.Join(rapid.SliceOfN(line, 1, 8).Draw(t, "lines"), "\r\n")
	return strings.TrimRight(text, "\r\n")
}

func drawAddress(t *rapid.T) entity.Address {
	name := ""
	if rapid.Bool().Draw(t, "named") {
		name = drawAlphabet(t).words(t, 30)
	}
	local := rapid.SampledFrom([]string{"ada", "a.b+c", "o'neil", "x_y=z", "{a}|b", "zoë", "日本", strings.Repeat("l", 64)}).Draw(t, "local")
	return entity.Address{Name: name, Address: local + rapid.SampledFrom([]string{"@sakes.example", "@a.b.c.example", "@[192.0.2.1]", "@exämple.example"}).Draw(t, "domain")}
}

func drawAddresses(t *rapid.T, least int) []entity.Address {
	if n := rapid.IntRange(least, 4).Draw(t, "addresses"); n > 0 {
		list := make([]entity.Address, n)
		for i := range list {
			list[i] = drawAddress(t)
		}
		return list
	}
	return nil
}

func drawLetter(t *rapid.T, depth int) *letter {
	l := &letter{
		From: drawAddress(t), To: drawAddresses(t, 1), Cc: drawAddresses(t, 0), Bcc: drawAddresses(t, 0), Back: drawAddresses(t, 0),
		Subject: drawAlphabet(t).words(t, 100), ID: "<" + rapid.StringMatching(`[a-z0-9$.]{1,40}`).Draw(t, "id") + "@sakes.example>",
		Sent: time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "sent"), 0).UTC(),
	}
	if l.Plain = drawAlphabet(t).lines(t); l.Plain == "" || rapid.Bool().Draw(t, "HTML") {
		l.HTML = "<p>" + drawAlphabet(t).lines(t) + "</p>"
	}
	for range rapid.IntRange(0, 3).Draw(t, "files") {
		f := attachedFile{Name: drawAlphabet(t).words(t, 40)}
		if depth < 2 && rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
			f = attachedFile{Message: drawLetter(t, depth+1)}
		} else {
			f.ContentID = rapid.SampledFrom([]string{"", "a@sakes.example", "image001.png@01D9"}).Draw(t, "Content-ID")
			f.Octets = string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "octets"))
		}
		l.Files = append(l.Files, f)
	}
	return l
}

// composer writes letters as MIME in one of the many ways there are.
type composer struct {
	*rapid.T
	bytes.Buffer
	boundaries int
}

func (l *letter) mime(t *rapid.T) []byte {
	c := &composer{T: t}
	c.letter(l)
	return c.Bytes()
}

func (c *composer) line(format string, values ...any) {
	fmt.Fprintf(&c.Buffer, format+"\r\n", values...)
}

func (c *composer) either(what string) bool { return rapid.Bool().Draw(c.T, what) }

func (c *composer) letter(l *letter) {
	c.addresses("From", []entity.Address{l.From})
	c.addresses("To", l.To)
	c.addresses("Cc", l.Cc)
	c.addresses("Bcc", l.Bcc)
	c.addresses("Reply-To", l.Back)
	c.line("Subject: %s", c.text(l.Subject))
	c.line("Message-ID: %s", l.ID)
	zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(c.T, "zone"))
	c.line("Date: %s", l.Sent.In(zone).Format(rapid.SampledFrom([]string{time.RFC1123Z, "2 Jan 2006 15:04:05 -0700"}).Draw(c.T, "form of a date")))
	c.line("MIME-Version: 1.0")
	c.mixed(l)
}

func (c *composer) addresses(field string, list []entity.Address) {
	if len(list) == 0 {
		return
	}
	var written []string
	for _, a := range list {
		switch {
		case a.Name == "":
			written = append(written, a.Address)
		case isASCII(a.Name) && c.either("quoted"):
			written = append(written, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.Name)+`" <`+a.Address+">")
		default:
			written = append(written, c.words(a.Name)+" <"+a.Address+">")
		}
	}
	c.line("%s: %s", field, strings.Join(written, ",\r\n\t"))
}

// text writes the text of a field as it is, or in encoded words.
func (c *composer) text(text string) string {
	if !strings.Contains(text, "=?") && c.either("unencoded") {
		return text
	}
	return c.words(text)
}

// words writes encoded words, RFC 2047.
func (c *composer) words(text string) string {
	page, _ := c.page(text)
	var words []string
	for runes := []rune(text); len(runes) > 0; {
		n := min(len(runes), 8)
		octets, err := page.Encode(string(runes[:n]))
		if err != nil {
			c.Fatal(err)
		}
		word := "b?" + base64.StdEncoding.EncodeToString(octets)
		if c.either("Q") {
			word = "Q?"
			for _, octet := range octets {
				word += fmt.Sprintf("=%02X", octet)
			}
		}
		words, runes = append(words, "=?"+page.Charset+"?"+word+"?="), runes[n:]
	}
	return strings.Join(words, "\r\n ")
}

// page chooses a code page that has all of a text, and returns its octets.
func (c *composer) page(text string) (codepage.Page, []byte) {
	first := rapid.IntRange(0, len(alphabets)-1).Draw(c.T, "page")
	for i := range alphabets {
		page := alphabets[(first+i)%len(alphabets)].page
		octets, err := page.Encode(text)
		if err != nil {
			continue
		}
		if back, err := page.Decode(octets); err == nil && back == text {
			return page, octets
		}
	}
	c.Fatalf("no code page has %q", text)
	return codepage.Page{}, nil
}

func (c *composer) mixed(l *letter) {
	if len(l.Files) == 0 {
		c.bodies(l)
		return
	}
	b := c.multipart("mixed")
	c.line("--%s", b)
	c.bodies(l)
	for _, f := range l.Files {
		c.line("\r\n--%s", b)
		c.file(f)
	}
	c.line("\r\n--%s--", b)
}

func (c *composer) multipart(kind string) string {
	c.boundaries++
	b := fmt.Sprintf("=_x%d", c.boundaries)
	c.line("Content-Type: multipart/%s; boundary=%q\r\n", kind, b)
	return b
}

func (c *composer) bodies(l *letter) {
	switch {
	case l.HTML == "":
		c.body("plain", l.Plain)
	case l.Plain == "":
		c.body("html", l.HTML)
	default:
		b := c.multipart("alternative")
		c.line("--%s", b)
		c.body("plain", l.Plain)
		c.line("\r\n--%s", b)
		c.body("html", l.HTML)
		c.line("\r\n--%s--", b)
	}
}

func (c *composer) body(kind, text string) {
	page, octets := c.page(text + "\r\n")
	c.line("Content-Type: text/%s; charset=%s", kind, page.Charset)
	c.content(octets, rapid.SampledFrom([]string{"", "base64", "quoted-printable"}).Draw(c.T, "encoding"))
}

func (c *composer) content(octets []byte, encoding string) {
	if encoding != "" {
		c.line("Content-Transfer-Encoding: %s", encoding)
	}
	c.line("")
	w := entity.NewEncoder(&c.Buffer, encoding)
	if _, err := w.Write(octets); err != nil {
		c.Fatal(err)
	}
	if err := w.Close(); err != nil {
		c.Fatal(err)
	}
}

func (c *composer) file(f attachedFile) {
	if f.Message != nil {
		c.line("Content-Type: message/rfc822\r\n")
		c.letter(f.Message)
		return
	}
	kind := rapid.SampledFrom([]string{"application/octet-stream", "image/png", "application/x-odd", "text/csv", "text/plain"}).Draw(c.T, "type")
	if f.Name != "" && c.either("name") {
		kind += "; name=\"" + c.words(f.Name) + "\""
	} else if f.Name != "" {
		page, octets := c.page(f.Name)
		kind += ";\r\n\tname*=" + page.Charset + "''"
		for _, octet := range octets {
			kind += fmt.Sprintf("%%%02X", octet)
		}
	}
	c.line("Content-Type: %s", kind)
	c.line("Content-Disposition: attachment")
	if f.ContentID != "" {
		c.line("Content-ID: <%s>", f.ContentID)
	}
	c.content([]byte(f.Octets), "base64")
}

// heard is what a message says.
func heard(t *rapid.T, e *entity.Entity) *letter {
	l := &letter{
		To: entity.ParseAddresses(e.Field("To")), Cc: entity.ParseAddresses(e.Field("Cc")), Bcc: entity.ParseAddresses(e.Field("Bcc")),
		Back: entity.ParseAddresses(e.Field("Reply-To")), Subject: fieldText(e.Field("Subject")), ID: e.Field("Message-ID"),
	}
	if from := entity.ParseAddresses(e.Field("From")); len(from) == 1 {
		l.From = from[0]
	}
	l.Sent, _ = entity.ParseDate(e.Field("Date"))
	l.Sent = l.Sent.UTC()
	l.hear(t, e)
	return l
}

// hear adds what is in an entity.
func (l *letter) hear(t *rapid.T, e *entity.Entity) {
	attached := strings.HasPrefix(e.Field("Content-Disposition"), "attachment")
	switch {
	case e.Message != nil:
		l.Files = append(l.Files, attachedFile{Message: heard(t, e.Message)})
	case len(e.Parts) > 0:
		for _, part := range e.Parts {
			l.hear(t, part)
		}
	case e.Is("text/plain") && !attached:
		l.Plain = heardText(t, e)
	case e.Is("text/html") && !attached:
		l.HTML = heardText(t, e)
	default:
		octets, err := io.ReadAll(e.Decoded())
		if err != nil {
			t.Fatal(err)
		}
		l.Files = append(l.Files, attachedFile{Name: e.Filename(), ContentID: trimID(e.Field("Content-ID")), Octets: string(octets)})
	}
}

func heardText(t *rapid.T, e *entity.Entity) string {
	page, err := e.TextPage()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(e.DecodedText(page))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(string(text), "\r\n")
}
