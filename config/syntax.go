package config

import (
	"bytes"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

var yamlLine = lazyregexp.New(`^yaml: (?:line ([0-9]+): )?`)

// syntaxProblem makes a problem of an error of the YAML parser.
func syntaxProblem(name string, data []byte, err error) *Problem {
	p := &Problem{Position: Position{File: name, Line: reportedLine(err), Column: 1}}
	if line := faultyLine(data); line > 0 {
		p.Line = line
	}
	text := yamlLine.ReplaceAllString(err.Error(), "")
	line := lineOf(data, p.Line)
	indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	tab := bytes.IndexByte(indent, '\t')
	switch {
	case tab >= 0:
		p.Column = tab + 1
		text = "the line is indented with a tab"
		p.Suggest = "indent with blanks"
	case strings.Contains(text, "unexpected end of stream"):
		p.Column = len(indent) + 1
		text = "a quote is opened here and never closed"
	default:
		p.Column = len(indent) + 1
		if blankProblem(p, data) {
			return p
		}
	}
	p.Text = "this is not YAML: " + text
	return p
}

// blankProblem makes a problem of a blank that is missing on its line, or on the one before it: what
// lacks one is a text that goes on, and the parser objects to the next line.
func blankProblem(p *Problem, data []byte) bool {
	for number := p.Line; number > 0; number-- {
		line := string(lineOf(data, number))
		if behind, at := missingBlank(line); behind != "" {
			p.Line, p.Column = number, at+1
			p.Text, p.Suggest = "this is not YAML", suggestBlank(behind)
			return true
		}
		if number < p.Line && strings.TrimSpace(line) != "" {
			break
		}
	}
	return false
}

// reportedLine is the line that the parser names. It names the one before, or none, where what it
// objects to belongs to a block that has begun there.
func reportedLine(err error) int {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil || m[1] == "" {
		return 1
	}
	line, _ := strconv.Atoi(m[1]) // digits, by the expression; too many are no line
	return max(line, 1)
}

// Beyond these bounds the parser's own line has to do: looking for a better one reads the file once for
// each of its lines.
const (
	mostFaultyLines  = 1000
	mostFaultyOctets = 32 << 10
)

// faultyLine is the line behind the longest beginning of a file that is YAML; 0: not looked for.
func faultyLine(data []byte) int {
	if len(data) > mostFaultyOctets || bytes.Count(data, []byte("\n")) > mostFaultyLines {
		return 0
	}
	data = bytes.TrimRight(data, "\n")
	for end := bytes.LastIndexByte(data, '\n'); end >= 0; end = bytes.LastIndexByte(data[:end], '\n') {
		var node yaml.Node
		if yaml.Unmarshal(data[:end+1], &node) == nil {
			return bytes.Count(data[:end+1], []byte("\n")) + 1
		}
	}
	return 1
}

// lineOf is a line of a file, counted from 1; empty where there is none.
func lineOf(data []byte, number int) []byte {
	for ; number > 1; number-- {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return line
}
