package convert

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// TestMendedIsTold: whatever is mended in silence can be told to the plugin's author.
func TestMendedIsTold(t *testing.T) {
	entry := func(change func(*pb.Entry)) error {
		m := &pb.Entry{Id: []byte("x"), Size: -1, Uidl: "u", Received: timestamppb.New(noon)}
		change(m)
		return EntryMended(m)
	}
	described := func(change func(*pb.Description)) error {
		m := &pb.Description{Name: "n", Mechanisms: []string{"PLAIN", "plain"}, Credentials: []pb.CredentialKind{77}}
		change(m)
		return DescriptionMended(m)
	}
	for _, test := range []struct {
		name string
		err  error
		want string // empty: nothing was mended
	}{
		{"an entry that keeps the rules", entry(func(*pb.Entry) {}), ""},
		{"nothing but an id", EntryMended(&pb.Entry{Id: []byte("x")}), ""},
		{"a unique-id with a blank", entry(func(m *pb.Entry) { m.Uidl = "a\r\nb" }), `"a  b"`},
		{"a long unique-id", entry(func(m *pb.Entry) { m.Uidl = strings.Repeat("u", 71) }), "1 to 70 characters"},
		{"a negative size", entry(func(m *pb.Entry) { m.Size = -7 }), "the size -7"},
		{"a time beyond the years", entry(func(m *pb.Entry) { m.Received.Seconds = math.MaxInt64 }), "a time that no message"},
		{"a description that keeps the rules", described(func(*pb.Description) {}), ""},
		{"a negative limit", described(func(m *pb.Description) { m.Limits = &pb.Limits{Maildrops: -2} }), "the limit -2"},
		{"a negative size limit", described(func(m *pb.Description) { m.Limits = &pb.Limits{MessageSize: -1 << 40} }), "the limit -1099511627776"},
		{"a mechanism that is no name", described(func(m *pb.Description) { m.Mechanisms = []string{"A B"} }), `"A B"`},
	} {
		if test.want == "" && test.err != nil || test.want != "" && (test.err == nil || !strings.Contains(test.err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, test.err, test.want)
		}
	}
}

// TestSecretDefault: the default of a secret is one, too.
func TestSecretDefault(t *testing.T) {
	d, err := DescriptionFromProto(&pb.Description{Name: "x", Settings: []*pb.Setting{{Path: "key", Secret: true, Default: "hunter2"}}})
	if err != nil || d.Settings[0].Default != "" {
		t.Errorf("%+v, %v", d.Settings, err)
	}
}
