package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/rs/zerolog"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	for _, test := range []struct {
		name  string
		write []string
		want  []string // level and message of each entry
	}{
		{"plain", []string{"hello\n"}, []string{"info hello"}},
		{"pieces", []string{"hel", "lo", "\nwor", "ld\n"}, []string{"info hello", "info world"}},
		{"no end", []string{"hello"}, []string{"info hello"}},
		{"empty lines", []string{"\n\n\n"}, nil},
		{"json", []string{`{"@level":"error","@message":"m","@timestamp":"x"}` + "\n"}, []string{"error m"}},
		{"json of another shape", []string{`{"@message":1}` + "\n", `{"level":"warn"}` + "\n", "{\n", "[1]\n"}, []string{`info {"@message":1}`, `info {"level":"warn"}`, "info {", "info [1]"}},
		{"null message", []string{`{"@message":null}` + "\n"}, []string{`info `}},
		{"levels", []string{`{"@level":"FATAL","@message":"f"}` + "\n" + `{"@level":7,"@message":"n"}` + "\n" + `{"@level":"disabled","@message":"d"}` + "\n"}, []string{"error f", "info n", "info d"}},
		{"control characters", []string{"a\x1b[31mb\x00c\rd\xff\n"}, []string{"info a [31mb c d?"}},
		{"long", []string{long, long, "\nshort\n"}, []string{"info " + long[:messageMost], "info short"}},
		{"crash", []string{"before\npanic: boom\n\ngoroutine 1\n\tmain.go:1\n"}, []string{"info before", "error panic: boom", "error goroutine 1", "error main.go:1"}},
		{"json in a crash", []string{"panic: boom\n" + `{"@level":"debug","@message":"m"}` + "\n"}, []string{"error panic: boom", "debug m"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			l := newLines(zerolog.New(&log))
			s := l.stream()
			for _, w := range test.write {
				if n, err := s.Write([]byte(w)); n != len(w) || err != nil {
					t.Fatal(n, err)
				}
			}
			s.flush()
			var got []string
			for line := range strings.Lines(log.String()) {
				var entry struct{ Level, Message string }
				if err := json.Unmarshal([]byte(line), &entry); err != nil {
					t.Fatal(err)
				}
				got = append(got, entry.Level+" "+entry.Message)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("\n got %.300q\nwant %.300q", got, test.want)
			}
		})
	}
}

func TestLinesFields(t *testing.T) {
	var log bytes.Buffer
	s := newLines(zerolog.New(&log).With().Str("store", "mine").Logger()).stream()
	fields := `"store":"spoofed","n":1.5,"b":true,"s":"a\nb","deep":{"x":[1,2]},"none":null,"k\u001bey":"v"`
	for i := range 50 {
		fields += fmt.Sprintf(`,"z%d":%d`, i, i)
	}
	_, _ = s.Write([]byte(`{"@message":"m",` + fields + "}\n"))
	var entry struct {
		Store  string
		Fields map[string]any
	}
	if err := json.Unmarshal(log.Bytes(), &entry); err != nil {
		t.Fatal(err)
	}
	if entry.Store != "mine" || len(entry.Fields) > fieldsMost || entry.Fields["n"] != 1.5 || entry.Fields["b"] != true ||
		entry.Fields["s"] != "a b" || entry.Fields["k ey"] != "v" || entry.Fields["deep"] != "map[x:[1 2]]" {
		t.Errorf("%+v", entry)
	}
}

// TestLinesRate: a burst passes, a flood is counted, and time lets lines pass again.
func TestLinesRate(t *testing.T) {
	var log bytes.Buffer
	l := newLines(zerolog.New(&log))
	now := time.Unix(1e9, 0)
	l.now = func() time.Time { return now }
	s := l.stream()
	for range linesBurst + 500 {
		_, _ = s.Write([]byte("line\n"))
	}
	if n := strings.Count(log.String(), "\n"); n != linesBurst {
		t.Errorf("%d lines of a flood", n)
	}
	now = now.Add(time.Second)
	log.Reset()
	for range linesPerSec + 10 {
		_, _ = s.Write([]byte("line\n"))
	}
	if n := strings.Count(log.String(), `"message":"line"`); n != linesPerSec || !strings.Contains(log.String(), `"lines":500`) {
		t.Errorf("%d lines a second later: %.300s", n, log.String())
	}
	log.Reset()
	l.end()
	if !strings.Contains(log.String(), `"lines":10`) {
		t.Error(log.String())
	}
}

// TestLinesDroppedNotice: that lines are dropped is told once a minute, and at the end.
func TestLinesDroppedNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		l := newLines(zerolog.New(log))
		s := l.stream()
		const minutes = 5
		flood := bytes.Repeat([]byte("line\n"), 4000)
		for range minutes * 600 { // ten times a second
			_, _ = s.Write(flood)
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(log.String(), "lines were dropped"); n < minutes || n > minutes+1 {
			t.Errorf("told %d times in %d minutes", n, minutes)
		}
		l.end()
		told := 0
		for line := range strings.Lines(log.String()) {
			var entry struct{ Lines int }
			_ = json.Unmarshal([]byte(line), &entry)
			told += entry.Lines
		}
		if logged := strings.Count(log.String(), `"message":"line"`); logged+told != minutes*600*4000 {
			t.Errorf("%d lines were logged and %d dropped, of %d", logged, told, minutes*600*4000)
		}
	})
	t.Run("a plugin that writes no more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log := &logBuffer{}
			l := newLines(zerolog.New(log))
			_, _ = l.stream().Write(bytes.Repeat([]byte("line\n"), 2*linesBurst))
			time.Sleep(droppedGap + time.Second)
			synctest.Wait()
			if !strings.Contains(log.String(), fmt.Sprintf(`"lines":%d`, linesBurst)) {
				t.Error("it was not told")
			}
			l.end()
		})
	})
}

// TestLinesFloodIsCheap: what exceeds the budget is counted, and neither kept nor looked at.
func TestLinesFloodIsCheap(t *testing.T) {
	for name, line := range map[string]string{
		"text": "a line of a flood\n", "JSON": `{"@message":"m","@level":"warn","a":{"b":[1,2,3]}}` + "\n",
		"no line end": "x", "empty lines": "\n", "long lines": strings.Repeat("y", 20_000) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := newLines(zerolog.Nop())
			at := time.Unix(1e9, 0)
			l.now = func() time.Time { return at }
			s := l.stream()
			flood := bytes.Repeat([]byte(line), 1+(64<<10)/len(line))
			for range 200 { // until the budget is spent, and the buffers have their size
				_, _ = s.Write(flood)
			}
			if allocations := testing.AllocsPerRun(100, func() { _, _ = s.Write(flood) }); allocations > 1 {
				t.Errorf("%.0f allocations for %d octets", allocations, len(flood))
			}
			l.end()
		})
	}
}

func BenchmarkLinesFlood(b *testing.B) {
	l := newLines(zerolog.Nop())
	s := l.stream()
	flood := bytes.Repeat([]byte(`{"@message":"m","@level":"warn","a":{"b":[1,2,3]}}`+"\n"), 32<<10/50)
	b.SetBytes(int64(len(flood)))
	for b.Loop() {
		_, _ = s.Write(flood)
	}
	l.end()
}

// TestTailOfCrashes: the line that names the cause is quoted, also where a stack follows it.
func TestTailOfCrashes(t *testing.T) {
	stack := func(frame string) string { return strings.Repeat(frame+"\n", 12) }
	for _, test := range []struct{ name, output, want string }{
		{"Node", "/opt/x.js:3\nthrow new Error('boom');\n^\n\nError: boom at start\n" + stack("    at Module._compile (node:internal/modules/cjs/loader:1256:14)") + "\nNode.js v18.19.0\n", "Error: boom at start"},
		{"Node, a module is missing", "node:internal/modules/cjs/loader:1080\n  throw err;\n  ^\n\nError: Cannot find module './x'\nRequire stack:\n- /opt/x.js\n" + stack("    at Module._load (node:internal)") + " {\n  code: 'MODULE_NOT_FOUND',\n  requireStack: [ '/opt/x.js' ]\n}\n\nNode.js v18\n", "Error: Cannot find module './x'"},
		{"Node, with a code", "TypeError [ERR_X]: bad\n" + stack("    at x"), "TypeError [ERR_X]: bad"},
		{"Java", "Exception in thread \"main\" java.lang.IllegalStateException: no port\n" + stack("\tat a.B.c(B.java:1)") + "Caused by: java.io.IOException: x\n" + stack("\tat a.B.d(B.java:2)"), `Exception in thread "main" java.lang.IllegalStateException: no port`},
		{"Go", "panic: boom\n\ngoroutine 1 [running]:\n" + stack("main.main()\n\t/tmp/x.go:4 +0x1d") + "exit status 2\n", "panic: boom"},
		{".NET", "Unhandled exception. System.Exception: boom\n" + stack("   at P.Main()"), "Unhandled exception. System.Exception: boom"},
		{"Python", "Traceback (most recent call last):\n" + stack("  File \"x.py\", line 1, in <module>") + "ValueError: boom\n", "ValueError: boom"},
		{"an error, and then its usage", "it starts\nerror: no folder is given\n" + stack("Usage: x FOLDER"), "error: no folder is given"},
		{"an error of long ago", "error: this passed\n" + stack("all is well") + "Error: boom\n" + stack("    at x"), "Error: boom"},
		{"behind a flood", strings.Repeat("a line\n", 50_000) + "Error: boom\n" + stack("    at x"), "Error: boom"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLines(zerolog.Nop())
			s := l.stream()
			_, _ = s.Write([]byte(test.output))
			l.end()
			tail := l.tail()
			if !strings.Contains(tail, test.want) || strings.Contains(tail, "this passed") || len(tail) > (tailMost+1)*tailLineMost {
				t.Errorf("%q, want %q", tail, test.want)
			}
		})
	}
}

func TestTail(t *testing.T) {
	s := newLines(zerolog.Nop()).stream()
	for i := range 10 {
		_, _ = fmt.Fprintf(s, "line %d\x07\n", i)
	}
	if got := s.to.tail(); got != "line 5 / line 6 / line 7 / line 8 / line 9" {
		t.Error(got)
	}
}

// FuzzLines: no output of a plugin's breaks the log.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{"a\nb", `{"@message":1}`, `{"@message":"m","@level":"warn","a":{"b":[1]}}` + "\n", "\x00\xff\n", "panic: x\n", `{"@message":"m","a\u0085":"\u001b[31m","b":["\r\n"],"@level":"\u0000"}` + "\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, octets []byte, cut int) {
		var log bytes.Buffer
		l := newLines(zerolog.New(&log))
		s := l.stream()
		cut = max(0, min(cut, len(octets)))
		_, _ = s.Write(octets[:cut])
		_, _ = s.Write(octets[cut:])
		s.flush()
		for line := range strings.Lines(log.String()) {
			var entry map[string]any
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			for _, text := range textsIn(entry) {
				if strings.ContainsFunc(text, unicode.IsControl) {
					t.Errorf("%q in %q", text, line)
				}
			}
		}
		if strings.ContainsAny(l.tail(), "\x00\x1b\r\n") {
			t.Errorf("%q", l.tail())
		}
	})
}

// textsIn are the names and texts in a line of the log.
func textsIn(value any) (texts []string) {
	switch v := value.(type) {
	case string:
		texts = append(texts, v)
	case map[string]any:
		for name, field := range v {
			texts = append(append(texts, name), textsIn(field)...)
		}
	}
	return texts
}
