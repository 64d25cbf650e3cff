package main

import (
	"bufio"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dipylon/dipylon/backends"
)

func TestParseSendmail(t *testing.T) {
	text := func(s string) *string { return &s }
	for line, want := range map[string]*sendmail{
		"":                              {},
		"-t":                            {fromHeader: true},
		"-ti":                           {fromHeader: true, dots: true},
		"-oi -t a@b c":                  {fromHeader: true, dots: true, recipients: []string{"a@b", "c"}},
		"a -i b -- -c":                  {dots: true, recipients: []string{"a", "b", "-c"}},
		"-fme@x -F Me":                  {sender: text("me@x"), name: "Me"},
		"-f me@x":                       {sender: text("me@x")},
		"-r <>":                         {sender: text("")},
		"-oem -oeq -bm -v -U -G -B 8":   {},
		"-N never -R hdrs -V id":        {notify: backends.NotifyNever, returns: backends.ReturnHeaders, id: "id"},
		"-Nsuccess,delay":               {notify: backends.NotifySuccess | backends.NotifyDelay},
		"-bs":                           {smtp: true},
		"-C x --account=a --outbox b":   {config: "x", account: "a", outbox: "b"},
		"--help":                        {help: true},
		"-O DeliveryMode=b -h 3 -X log": {},
		"-f":                            nil,
		"-N often":                      nil,
		"-N never,delay":                nil,
		"-R all":                        nil,
		"-bp":                           nil,
		"-q":                            nil,
		"-q30m":                         nil,
		"-z":                            nil,
		"--nonsense":                    nil,
		"--config":                      nil,
	} {
		got, err := parseSendmail(strings.Fields(line))
		if (err != nil) != (want == nil) || want != nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
}

func TestUntilDot(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a\n.\nb\n": "a\n", "a\r\n.\r\nb": "a\r\n", ".": "", "a\n.": "a\n", "..\n. \na.\n": "..\n. \na.\n", "a": "a",
		strings.Repeat("x", 5000) + "." + "\n.\ny": strings.Repeat("x", 5000) + ".\n",
		strings.Repeat("x", 4096) + ".\ny\n":       strings.Repeat("x", 4096) + ".\ny\n",
	} {
		got, err := io.ReadAll(iotest.OneByteReader(&untilDot{lines: bufio.NewReader(strings.NewReader(in))}))
		if err != nil || string(got) != want {
			t.Errorf("%.20q: %.20q, %v", in, got, err)
		}
	}
	if _, err := io.ReadAll(&untilDot{lines: bufio.NewReader(iotest.ErrReader(io.ErrClosedPipe))}); err == nil {
		t.Error("an input that breaks off is whole")
	}
}

func TestScanHeader(t *testing.T) {
	for in, want := range map[string]string{ // the header, what joins it to the rest, and the rest
		"":                               "||",
		"To: a\n\nx":                     "To: a\n\n||x",
		"To: a\n b\r\n\r\n":              "To: a\n b\r\n\r\n||",
		"hello\nTo: a\n":                 "|\n|hello\nTo: a\n",
		" x\n":                           "|\n| x\n",
		"To: a\nhello: \nworld\n":        "To: a\nhello: \n|\n|world\n",
		"From a Mon\nTo: a\n\nFrom b\n":  "To: a\n\n||From b\n",
		"\nTo: a\n":                      "\n||To: a\n",
		"To: a":                          "To: a||",
		"X: " + strings.Repeat("x", 1e6): "||X: " + strings.Repeat("x", 1e6),
	} {
		h, size, joint, err := scanHeader(strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		head, err := io.ReadAll(h.Reader())
		if got := string(head) + "|" + joint + "|" + in[size:]; err != nil || got != want {
			t.Errorf("%.40q: %.40q, want %.40q, %v", in, got, want, err)
		}
	}
}
