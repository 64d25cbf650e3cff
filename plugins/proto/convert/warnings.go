package convert

import (
	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// warningTextMost bounds a warning's texts, in octets.
const warningTextMost = 1024

// WarningsToProto makes what is sent of warnings.
func WarningsToProto(warnings []backends.Warning) (all []*pb.Warning) {
	for _, w := range warnings {
		all = append(all, &pb.Warning{
			Name: w.Name, Kind: pb.Warning_Kind(w.Kind), Text: Line(w.Text, warningTextMost), Advice: Line(w.Advice, warningTextMost),
			Since: timeToProto(w.Since), Until: timeToProto(w.Until), Stops: w.Stops,
		})
	}
	return all
}

var warningName = lazyregexp.New(`^[a-z0-9-]{1,64}$`)

// WarningsFromProto reads warnings. One that is odd is left out, and so is what is too much.
func WarningsFromProto(all []*pb.Warning) (warnings []backends.Warning) {
	seen := make(map[string]bool)
	for _, in := range all {
		if len(warnings) == backends.WarningsMost {
			return warnings
		}
		w := backends.Warning{
			Name: in.GetName(), Kind: backends.WarningKind(max(0, min(in.GetKind(), 255))), Text: Line(in.GetText(), warningTextMost), Advice: Line(in.GetAdvice(), warningTextMost),
			Since: timeFromProto(in.GetSince()), Until: timeFromProto(in.GetUntil()), Stops: in.GetStops(),
		}
		if !warningName.MatchString(w.Name) || w.Text == "" || seen[w.Name] {
			continue
		}
		if w.Kind < backends.WarningOther || w.Kind > backends.WarningThrottled {
			w.Kind = backends.WarningOther
		}
		seen[w.Name] = true
		warnings = append(warnings, w)
	}
	return warnings
}
