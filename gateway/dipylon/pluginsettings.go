package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
	"github.com/dipylon/dipylon/plugins/host"
)

func newPluginSettings() *cobra.Command {
	return &cobra.Command{
		Use:   "settings -- KIND|COMMAND [ARGUMENT…]",
		Short: "Print a backend's settings as an annotated example",
		Long: `Starts a backend, asks which settings it has, and prints them as an example to begin with: what stands
under stores[].settings of the configuration. What has a default is a comment. The backend is a
built-in, by its kind, or a command. Whether settings are right is for "dipylon check" to say.`,
		Example: `  dipylon plugin settings imap
  dipylon plugin settings -- ./my-backend --verbose`,
		Args: cobra.MinimumNArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			command, err := commandOf(args)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			d, err := host.DescribeProgram(ctx, zerolog.Nop(), host.Spec{Store: "settings", Command: command})
			if err != nil {
				return withCode(exitTemporary, err)
			}
			if len(d.Settings) == 0 {
				return fmt.Errorf("the backend %s does not document its settings", d.Name)
			}
			return writeSettings(cmd.OutOrStdout(), d)
		}),
	}
}

// settingNode is a setting, or a key with others below it.
type settingNode struct {
	key      string
	setting  *backends.Setting
	children []*settingNode
}

// settingTree puts settings under the keys that their paths name.
func settingTree(settings []backends.Setting) *settingNode {
	root := &settingNode{}
	for i := range settings {
		at := root
		for _, key := range strings.Split(settings[i].Path, ".") {
			at = at.child(key)
		}
		at.setting = &settings[i]
	}
	return root
}

func (n *settingNode) child(key string) *settingNode {
	for _, c := range n.children {
		if c.key == key {
			return c
		}
	}
	c := &settingNode{key: key}
	n.children = append(n.children, c)
	return c
}

// required says whether anything in it has to be set.
func (n *settingNode) required() bool {
	return n.setting != nil && n.setting.Required || slices.ContainsFunc(n.children, (*settingNode).required)
}

// writeSettings writes the settings of a backend as YAML.
func writeSettings(w io.Writer, d backends.Description) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# The settings of %s %s. A line that begins with \"#\" and a key shows what holds without it.\nsettings:\n", d.Name, d.Version)
	for _, n := range settingTree(d.Settings).children {
		n.write(&b, "  ", noMark, false)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// noMark is the column of the mark where nothing is a comment.
const noMark = -1

// write writes a key and what is below it. mark is the column of "#" within what is a comment: taking
// the marks away leaves YAML. item says that the key is the first of a list's item.
func (n *settingNode) write(b *strings.Builder, indent string, mark int, item bool) {
	outer := mark // the sentence above the outermost comment is a comment by itself
	if mark == noMark && !n.required() {
		mark = len(indent)
	}
	lead, deeper := "", indent+"  "
	if item {
		lead, deeper = "- ", indent+"    "
	}
	name, list := strings.CutSuffix(n.key, "[]")
	value := ""
	if n.setting != nil {
		for _, line := range wrapped(about(*n.setting, len(n.children) > 0), 96-len(indent)) {
			fmt.Fprintf(b, "%s# %s\n", before(indent, outer), line)
		}
		if len(n.children) == 0 {
			value = valueOf(*n.setting, list)
		}
	}
	fmt.Fprintf(b, "%s%s%s:%s\n", before(indent, mark), lead, nameOf(name), value)
	for i, c := range n.children {
		c.write(b, deeper, mark, list && i == 0)
		if list && i == 0 {
			deeper += "  "
		}
	}
}

// before is what stands at the beginning of a line.
func before(indent string, mark int) string {
	if mark == noMark {
		return indent
	}
	return indent[:mark] + "#" + indent[mark:]
}

var (
	// plainKey is a key that means itself in YAML, and plainValue a value that does.
	plainKey   = lazyregexp.New(`^[A-Za-z0-9_](?:[-A-Za-z0-9_/\[\]*]*[-A-Za-z0-9_/\]*])?$`)
	plainValue = lazyregexp.New(`^(?:-?[A-Za-z0-9_./]|\+)[^ :#{}\[\],&*!|>'"%@\x60\\]*$`)
)

// nameOf is a key; one that is free has an example.
func nameOf(key string) string {
	switch {
	case key == "*":
		return "KEY"
	case plainKey.MatchString(key):
		return key
	}
	return strconv.Quote(key)
}

// about is the sentence above a setting. parent: it has others below it, and no room for a value.
func about(s backends.Setting, parent bool) string {
	text := s.Doc
	if slices.ContainsFunc(s.Values, func(v string) bool { return !strings.Contains(s.Doc, v) }) {
		text += " One of: " + strings.Join(s.Values, ", ") + "."
	}
	if s.Secret {
		text += " A secret: better file:PATH or env:NAME."
	}
	if s.Default != "" && (parent || !plain(s)) {
		text += " Without it: " + s.Default + "."
	}
	return text
}

// valueOf is an example of a value, with a blank before it: the default where it can be written.
func valueOf(s backends.Setting, list bool) string {
	switch {
	case list:
		return " []"
	case s.Default != "" && plain(s):
		return " " + s.Default
	}
	return ""
}

// plain says whether a default can stand as a YAML scalar, and is not in words.
func plain(s backends.Setting) bool {
	return (s.Default != "none" || slices.Contains(s.Values, "none")) && plainValue.MatchString(s.Default)
}

// wrapped breaks a text into lines of some width.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
