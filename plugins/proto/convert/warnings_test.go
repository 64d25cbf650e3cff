package convert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// TestWarnings: what a store warns of comes over the wire as it is, and what is odd or too much does not.
func TestWarnings(t *testing.T) {
	noon := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	all := []backends.Warning{
		{Name: "secret", Kind: backends.WarningSecret, Text: "the secret ends", Advice: "make another", Until: noon},
		{Name: "token", Kind: backends.WarningToken, Text: "no token", Since: noon, Stops: true},
	}
	if got := WarningsFromProto(WarningsToProto(all)); len(got) != 2 || got[0] != all[0] || got[1] != all[1] {
		t.Errorf("%+v", got)
	}
	odd := []*pb.Warning{
		{Name: "", Text: "x"},
		{Name: "Up", Text: "x"},
		{Name: strings.Repeat("a", 65), Text: "x"},
		{Name: "empty"},
		{Name: "far", Text: "x", Until: &timestamppb.Timestamp{Seconds: 1 << 60}},
		{Name: "far", Text: "again"},
		{Name: "kind", Kind: 77, Text: "a\r\nb" + strings.Repeat("c", 5000)},
		{Name: "less", Kind: -1, Text: "x"},
		nil,
	}
	got := WarningsFromProto(odd)
	if len(got) != 3 || !got[0].Until.IsZero() || got[1].Kind != backends.WarningOther || strings.ContainsAny(got[1].Text, "\r\n") || len(got[1].Text) > warningTextMost+8 || got[2].Kind != backends.WarningOther {
		t.Errorf("%d %+v", len(got), got)
	}
	var many []*pb.Warning
	for i := range 3 * backends.WarningsMost {
		many = append(many, &pb.Warning{Name: fmt.Sprint(i), Text: "x"})
	}
	if n := len(WarningsFromProto(many)); n != backends.WarningsMost {
		t.Errorf("%d warnings", n)
	}
}
