package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

var noCause = cmpopts.IgnoreUnexported(backends.Failure{})

var noon = time.Date(1997, 3, 10, 12, 0, 0, 5000, time.UTC)

// crossed is a message after it has been on the wire.
func crossed[M proto.Message](t testing.TB, m M) M {
	t.Helper()
	octets, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	copied := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(octets, copied); err != nil {
		t.Fatal(err)
	}
	return copied
}

func must[T any](t testing.TB, value T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, noCause); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestRoundTrip: every field of every type comes back.
func TestRoundTrip(t *testing.T) {
	peer := backends.Peer{Address: "192.0.2.7:50123", Protocol: "pop3", TLS: true, Session: "s-1"}
	rendering := backends.Rendering{Encoding: backends.EncodingUUENCODE, Body: backends.BodyTextAndHTML, Charset: "koi8-r", RichText: true, Wrap: 72, Calendar: backends.CalendarLink, CalendarLink: "https://a.example/"}
	failure := &backends.Failure{Kind: backends.OverQuota, Code: "4.2.2", Text: "full", Detail: "of 10 MB", RetryAfter: time.Hour, Guess: true, Whole: true}
	credential := backends.Credential{
		Kind: backends.CredentialCertificate, User: "ann", ActAs: "bob", Secret: []byte("s"), Certificate: []byte("DER"), Peer: peer,
	}
	verdicts := []backends.Verdict{
		{
			Recipient: "a@x.example", Account: "a", Action: backends.ActionRelayed, Destination: "dns; mx.x.example",
			RemoteDiagnostic: "smtp; 250 ok", StoredAs: "\xff7",
			Directory: &backends.DirectoryEntry{
				Address: "A@x.example", Members: []string{"c@x.example"},
				Preferences: backends.Preferences{RichText: backends.RichTextAlways, Format: backends.FormatUUENCODE, Charset: "utf-8"},
			},
		},
		{Recipient: "b@x.example", Failure: failure, Action: backends.ActionDelayed},
	}
	envelope := backends.Envelope{
		From: "a@x.example", ID: "QQ314159", Return: backends.ReturnHeaders, Body: backends.Body8BitMIME, SMTPUTF8: true,
		RequireTLS: true, Priority: -4, DeliverBy: backends.DeliverBy{Until: noon, Return: true, Trace: true},
		Submitter: backends.Submitter{Store: "s", Account: "ann", Address: "ann@x.example"},
	}
	recipients := []backends.Recipient{
		{Address: "ü@x.example", Notify: backends.NotifySuccess | backends.NotifyDelay, OriginalRecipient: "utf-8;ü@x.example"},
		{Address: "b@x.example", Notify: backends.NotifyNever},
		{Address: "c@x.example"},
	}

	t.Run("description", func(t *testing.T) {
		want := backends.Description{
			Name: "fake", Version: "1", Vendor: "v", ExactSizes: true, Mechanisms: []string{"SCRAM-SHA-256"},
			Capabilities: backends.Capabilities{Reader: true, Receiver: true, Sender: true, Outbox: true, Authenticator: true, Watcher: true, SendRights: true, Examiner: true},
			Credentials:  []backends.CredentialKind{backends.CredentialPassword, backends.CredentialImpersonation},
			Reading: backends.Reading{
				Disposals: []backends.Disposal{backends.DisposalMark, backends.DisposalTrash}, Encodings: []backends.Encoding{backends.EncodingUUENCODE},
				Bodies: []backends.BodyForm{backends.BodyHTML}, MarksSeen: true, Folders: true, Renderer: "render-7",
				Calendars: []backends.CalendarForm{backends.CalendarText}, Wraps: true,
			},
			Limits:   backends.Limits{MessageSize: 1 << 40, Recipients: 2, Maildrops: 3, FetchesAtOnce: 4, RemovalsAtATime: 5},
			Settings: []backends.Setting{{Path: "a.b", Type: backends.SettingOctets, Default: "1MiB", Doc: "It.", Values: []string{"x"}, Required: true}, {Path: "c", Secret: true}},
		}
		got, err := DescriptionFromProto(crossed(t, DescriptionToProto(want)))
		same(t, must(t, got, err), want)
	})
	t.Run("settings", func(t *testing.T) {
		want := backends.Settings{
			Store: "s", Hostname: "h", Domains: []string{"d.example"}, StateDir: "/s", Raw: []byte("{}"), BaseDir: "/b", Check: true,
		}
		m, err := SettingsToProto(want)
		same(t, SettingsFromProto(crossed(t, must(t, m, err))), want)
	})
	t.Run("problems", func(t *testing.T) {
		want := &backends.SettingsError{Problems: []backends.SettingsProblem{{Path: "a.b", Problem: "p", Suggest: "s"}, {Problem: "q"}}}
		same(t, ProblemsFromProto(crossed(t, ProblemsToProto(want))), want)
		if err := ProblemsFromProto(crossed(t, ProblemsToProto(nil))); err != nil {
			t.Error(err)
		}
	})
	t.Run("credential", func(t *testing.T) {
		m, err := CredentialToProto(credential)
		got, err := CredentialFromProto(crossed(t, must(t, m, err)))
		same(t, must(t, got, err), credential)
	})
	t.Run("account", func(t *testing.T) {
		want := backends.Account{
			ID: "id é", Address: "a@x.example", Addresses: []string{"a@x.example", "@x.example"}, DisplayName: "Ann",
			Grant: []byte{0xff}, PasswordExpires: noon, FormerIDs: []string{"ann", "ann@old.example"},
			CredentialGeneration: "5f2d",
		}
		got, err := AccountFromProto(crossed(t, AccountToProto(want)))
		same(t, must(t, got, err), want)
	})
	t.Run("opened", func(t *testing.T) {
		want := backends.Opened{Account: backends.Account{ID: "ann"}, FolderID: "Lists/Gö"}
		got, err := OpenedFromProto(crossed(t, OpenedToProto(7, want)))
		same(t, must(t, got, err), want)
	})
	t.Run("measure", func(t *testing.T) {
		want := backends.MeasureRequest{
			IDs: []backends.MessageID{"a", "\xff"}, Sizes: true, Top: true, Lines: 3,
			Rendering: backends.Rendering{Encoding: backends.EncodingUUENCODE},
		}
		m, err := MeasureToProto(want)
		got, err := MeasureFromProto(crossed(t, must(t, m, err)))
		same(t, must(t, got, err), want)
		for _, of := range []backends.Measured{
			{ID: "a", Size: 7, Top: []byte("\r\n")},
			{ID: "a", Size: -1, Failure: backends.Fail(backends.Poison, "odd")},
		} {
			got, err := MeasuredFromProto(crossed(t, MeasuredToProto(of)), want, "a")
			got = must(t, got, err)
			if got.ID != of.ID || got.Size != of.Size || string(got.Top) != string(of.Top) || (got.Failure == nil) != (of.Failure == nil) {
				t.Errorf("%+v, want %+v", got, of)
			}
		}
	})
	t.Run("open", func(t *testing.T) {
		want := backends.OpenRequest{Credential: credential, Folder: "a/b"}
		m, err := OpenToProto(want)
		got, err := OpenFromProto(crossed(t, must(t, m, err)))
		same(t, must(t, got, err), want)
	})
	t.Run("entry", func(t *testing.T) {
		want := backends.Entry{ID: "\x00\xff", Size: 7, Exact: true, Received: noon, Seen: true, UIDL: "u1"}
		m, err := EntryToProto(want)
		got, err := EntryFromProto(crossed(t, must(t, m, err)))
		same(t, must(t, got, err), want)
	})
	t.Run("fetch", func(t *testing.T) {
		want := backends.FetchManyRequest{IDs: []backends.MessageID{"\xff", "b"}, Top: true, Lines: 9, Rendering: rendering}
		m, err := FetchToProto(want, 77)
		m = crossed(t, must(t, m, err))
		got, err := FetchFromProto(m)
		same(t, must(t, got, err), want)
		if m.GetWindow() != 77 {
			t.Error(m.GetWindow())
		}
	})
	t.Run("remove", func(t *testing.T) {
		want := []backends.MessageID{"a", "\xff"}
		m, err := RemoveToProto(want, backends.DisposalTrash)
		ids, disposal, err := RemoveFromProto(crossed(t, must(t, m, err)))
		same(t, must(t, ids, err), want)
		same(t, disposal, backends.DisposalTrash)
	})
	t.Run("removals", func(t *testing.T) {
		want := []backends.Removal{{ID: "a"}, {ID: "b", Failure: failure}}
		got, err := RemovalsFromProto(crossed(t, RemovalsToProto(want)), []backends.MessageID{"a", "b"})
		same(t, must(t, got, err), want)
	})
	t.Run("resolve", func(t *testing.T) {
		want := backends.ResolveQuery{Envelope: envelope, Recipients: recipients, Size: 9, Peer: peer, Accounts: true}
		m, err := ResolveToProto(want)
		same(t, ResolveFromProto(crossed(t, must(t, m, err))), want)
	})
	t.Run("delivery", func(t *testing.T) {
		want := backends.Delivery{Key: "k", Retry: true, Envelope: envelope, Recipients: recipients, Size: 9, Received: noon, Peer: peer}
		m, err := DeliveryToProto(want)
		got, err := DeliveryFromProto(crossed(t, must(t, m, err)))
		same(t, must(t, got, err), want)
	})
	t.Run("verdicts", func(t *testing.T) {
		m, err := VerdictsToProto(verdicts)
		got, err := VerdictsFromProto(crossed(t, must(t, m, err)), backends.To("a@x.example", "b@x.example"))
		same(t, must(t, got, err), verdicts)
	})
	t.Run("collect", func(t *testing.T) {
		want := backends.CollectRequest{Most: 3, Lease: time.Hour, Wait: time.Minute, Rendering: rendering}
		m, err := CollectToProto(want)
		got, err := CollectFromProto(crossed(t, must(t, m, err)))
		same(t, must(t, got, err), want)
	})
	t.Run("outgoing", func(t *testing.T) {
		want := backends.Outgoing{ID: "i", Envelope: envelope, Recipients: recipients, Queued: noon, Size: -1}
		m, err := OutgoingToProto(want)
		got, err := OutgoingFromProto(crossed(t, must(t, m, err)))
		same(t, must(t, got, err), want)
	})
	t.Run("settlements", func(t *testing.T) {
		want := []backends.Settlement{{ID: "i", Verdicts: []backends.Verdict{{Recipient: "a@x.example"}, verdicts[1]}}, {ID: "j"}}
		m, err := SettlementsToProto(want)
		got, err := SettlementsFromProto(crossed(t, must(t, m, err)))
		same(t, must(t, got, err), want)
	})
}

// TestKinds: the numbers of kinds and credentials, and the forms, are the same on both sides.
func TestKinds(t *testing.T) {
	for number, name := range pb.Kind_name {
		kind := backends.Kind(number)
		if number == 0 {
			continue
		}
		want := strings.ToUpper("KIND_" + strings.ReplaceAll(kind.String(), " ", "_"))
		if name != want {
			t.Errorf("%d is %s on the wire and %v in Go", number, name, kind)
		}
		if _, ok := statusCodes[kind]; !ok {
			t.Errorf("%v has no gRPC code", kind)
		}
		got := FailureFromProto(crossed(t, FailureToProto(&backends.Failure{Kind: kind})))
		if got.Kind != kind {
			t.Errorf("%v came back as %v", kind, got.Kind)
		}
	}
	if len(backends.Replies) != len(pb.Kind_name)-1 {
		t.Errorf("%d kinds in Go, %d on the wire", len(backends.Replies), len(pb.Kind_name)-1)
	}
	for number, name := range pb.CredentialKind_name {
		want := "CREDENTIAL_KIND_" + strings.ToUpper(backends.CredentialKind(number).String())
		if number != 0 && name != want {
			t.Errorf("%d is %s, want %s", number, name, want)
		}
	}
}

func TestFailureFromProto(t *testing.T) {
	for _, test := range []struct {
		name string
		in   *pb.Failure
		want *backends.Failure
	}{
		{"none", nil, nil},
		{"empty", &pb.Failure{}, &backends.Failure{Kind: backends.Temporary}},
		{"a kind of the future", &pb.Failure{Kind: 99}, &backends.Failure{Kind: backends.Temporary}},
		{"a negative kind", &pb.Failure{Kind: -1}, &backends.Failure{Kind: backends.Temporary}},
		{"no code", &pb.Failure{Kind: 2, Code: "5.1.1\r\n250 ok"}, &backends.Failure{Kind: backends.Permanent}},
		{"a code of success", &pb.Failure{Kind: 2, Code: "2.0.0"}, &backends.Failure{Kind: backends.Permanent}},
		{"lines", &pb.Failure{Kind: 2, Text: "a\r\n-ERR b", Detail: "c\nd\x1b[0m\u202e"}, &backends.Failure{Kind: backends.Permanent, Text: "a  -ERR b", Detail: "c d [0m?"}},
		{"long", &pb.Failure{Kind: 2, Detail: strings.Repeat("é", 5000)}, &backends.Failure{Kind: backends.Permanent, Detail: strings.Repeat("é", detailMost/2)}},
		{"retry in the past", &pb.Failure{Kind: 8, RetryAfter: durationpb.New(-time.Hour)}, &backends.Failure{Kind: backends.Throttled}},
		{"retry in a year", &pb.Failure{Kind: 8, RetryAfter: durationpb.New(8766 * time.Hour)}, &backends.Failure{Kind: backends.Throttled, RetryAfter: retryMost}},
		{"no duration", &pb.Failure{Kind: 8, RetryAfter: &durationpb.Duration{Seconds: math.MaxInt64}}, &backends.Failure{Kind: backends.Throttled}},
	} {
		t.Run(test.name, func(t *testing.T) { same(t, FailureFromProto(test.in), test.want) })
	}
}

func TestFailureToProto(t *testing.T) {
	for _, test := range []struct {
		name string
		in   *backends.Failure
		want *pb.Failure
	}{
		{"none", nil, nil},
		{"no kind", &backends.Failure{}, &pb.Failure{Kind: pb.Kind_KIND_TEMPORARY}},
		{"not UTF-8", &backends.Failure{Kind: backends.Permanent, Text: "\xff", Detail: "a\xffb"}, &pb.Failure{Kind: 2, Text: "?", Detail: "a?b"}},
		{"a cause", backends.AsFailure(io.ErrUnexpectedEOF), &pb.Failure{Kind: 1, Detail: "unexpected EOF"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := FailureToProto(test.in); !proto.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	said := backends.Fail(backends.InUse, "by another").WithCode("4.2.1").Say("busy").After(time.Second)
	for _, test := range []struct {
		name string
		err  error
		want *backends.Failure
		is   error
	}{
		{"a failure", ErrorToStatus(said), said, nil},
		{"a failure inside an error", ErrorToStatus(fmt.Errorf("opening: %w", said)), said, nil},
		{"any error", ErrorToStatus(errors.New("boom")), &backends.Failure{Kind: backends.Temporary, Detail: "boom"}, nil},
		{"no detail", status.Error(codes.Internal, "boom\n"), &backends.Failure{Kind: backends.Temporary, Detail: "Internal: boom"}, nil},
		{"unimplemented", status.Error(codes.Unimplemented, "no"), &backends.Failure{Kind: backends.Unsupported, Detail: "no"}, nil},
		{"deadline", status.Error(codes.DeadlineExceeded, "late"), &backends.Failure{Kind: backends.Temporary, Code: "4.4.7", Detail: "late: context deadline exceeded"}, context.DeadlineExceeded},
		{"cancelled", status.Error(codes.Canceled, "no"), &backends.Failure{Kind: backends.Temporary, Detail: "no: context canceled"}, context.Canceled},
		{"the end of a stream", io.EOF, &backends.Failure{Kind: backends.Temporary, Detail: "the plugin ended the stream early: unexpected EOF"}, io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ErrorFromStatus(test.err)
			same(t, backends.AsFailure(got), test.want)
			if test.is != nil && !errors.Is(got, test.is) {
				t.Errorf("%v is not %v", got, test.is)
			}
		})
	}
	if ErrorToStatus(nil) != nil || ErrorFromStatus(nil) != nil {
		t.Error("nothing became an error")
	}
	if HasFailure(status.Error(codes.Unknown, "x")) || !HasFailure(ErrorToStatus(said)) || !HasFailure(status.Error(codes.Unimplemented, "")) || HasFailure(io.EOF) {
		t.Error("HasFailure")
	}
	if !IsTransport(status.Error(codes.Unavailable, "EOF")) || IsTransport(ErrorToStatus(errors.New("x"))) || IsTransport(nil) {
		t.Error("IsTransport")
	}
}

// TestHostile: what breaks the rules is an error and never a value.
func TestHostile(t *testing.T) {
	long := strings.Repeat("x", 2000)
	failed := func(_ any, err error) error { return err }
	opened := func(folderID string) error {
		_, err := OpenedFromProto(&pb.MaildropResponse{FolderId: folderID, Response: &pb.MaildropResponse_Opened{Opened: &pb.Account{Id: "id"}}})
		return err
	}
	account := func(change func(*pb.Account)) error {
		m := &pb.Account{Id: "id", Address: "a@x.example"}
		change(m)
		return failed(AccountFromProto(m))
	}
	for _, test := range []struct {
		name string
		err  error
	}{
		{"entry without id", failed(EntryFromProto(&pb.Entry{}))},
		{"no entry", failed(EntryFromProto(nil))},
		{"no message to measure", failed(MeasureFromProto(&pb.Measure{}))},
		{"too many tops", failed(MeasureFromProto(&pb.Measure{Top: true, Ids: slices.Repeat([][]byte{{'x'}}, TopsMost+1)}))},
		{"too many sizes", failed(MeasureFromProto(&pb.Measure{Ids: slices.Repeat([][]byte{{'x'}}, backends.MeasureMost+1)}))},
		{"a long top", failed(MeasuredFromProto(&pb.Measured{Id: []byte("x"), Top: make([]byte, backends.MeasureTopMost+1)}, backends.MeasureRequest{Top: true}, "x"))},
		{"entry with a long id", failed(EntryFromProto(&pb.Entry{Id: []byte(long)}))},
		{"account with an empty former id", account(func(m *pb.Account) { m.FormerIds = []string{""} })},
		{"account with too many former ids", account(func(m *pb.Account) { m.FormerIds = make([]string, 1001) })},
		{"account with a long credential generation", account(func(m *pb.Account) { m.CredentialGeneration = long })},
		{"account with a credential generation of two lines", account(func(m *pb.Account) { m.CredentialGeneration = "a\nb" })},
		{"folder id with a control", opened("a\nb")},
		{"long folder id", opened(strings.Repeat("x", 1025))},
		{"account without id", account(func(m *pb.Account) { m.Id = "" })},
		{"no account", failed(AccountFromProto(nil))},
		{"account with a long id", account(func(m *pb.Account) { m.Id = long })},
		{"account id with a control", account(func(m *pb.Account) { m.Id = "a\nb" })},
		{"account with a long grant", account(func(m *pb.Account) { m.Grant = make([]byte, 1<<20) })},
		{"account address", account(func(m *pb.Account) { m.Address = "a b\r\nRCPT TO:<c>" })},
		{"account address without domain", account(func(m *pb.Account) { m.Address = "ann" })},
		{"account addresses", account(func(m *pb.Account) { m.Addresses = []string{"a@b", ""} })},
		{"too many addresses", account(func(m *pb.Account) { m.Addresses = make([]string, 20_000) })},
		{"addresses of many octets", account(func(m *pb.Account) {
			for i := range 2000 {
				m.Addresses = append(m.Addresses, fmt.Sprintf("%0900d@x.example", i))
			}
		})},
		{"description without a name", failed(DescriptionFromProto(&pb.Description{}))},
		{"description with a name of two lines", failed(DescriptionFromProto(&pb.Description{Name: "Bad\r\nName"}))},
		{"description with a name that ends its line", failed(DescriptionFromProto(&pb.Description{Name: "bad\n"}))},
		{"description with a name in an unknown form", failed(DescriptionFromProto(&pb.Description{Name: "Bad Name"}))},
		{"description with a long name", failed(DescriptionFromProto(&pb.Description{Name: long}))},
		{"too many removals", failed(RemovalsFromProto(&pb.Removals{Removals: make([]*pb.Removal, 100)}, []backends.MessageID{"a"}))},
		{"outgoing to too many", failed(OutgoingFromProto(&pb.Outgoing{Id: []byte("x"), Recipients: make([]*pb.Recipient, 20_000)}))},
		{"fetch without id", failed(FetchFromProto(&pb.Fetch{}))},
		{"fetch of too many", failed(FetchFromProto(&pb.Fetch{Ids: slices.Repeat([][]byte{[]byte("x")}, backends.FetchManyMost+1)}))},
		{"fetch of one without id", failed(FetchFromProto(&pb.Fetch{Ids: [][]byte{[]byte("x"), nil}}))},
		{"fetch in a form of the future", failed(FetchFromProto(&pb.Fetch{Ids: [][]byte{[]byte("x")}, Rendering: &pb.Rendering{Body: 99}}))},
		{"fetch in an encoding of the future", failed(FetchFromProto(&pb.Fetch{Ids: [][]byte{[]byte("x")}, Rendering: &pb.Rendering{Encoding: 99}}))},
		{"credential of the future", failed(CredentialFromProto(&pb.Credential{Kind: 99}))},
		{"delivery without key", failed(DeliveryFromProto(&pb.Delivery{}))},
		{"delivery with a long key", failed(DeliveryFromProto(&pb.Delivery{Key: long}))},
		{"delivery key with a space", failed(DeliveryFromProto(&pb.Delivery{Key: "a b"}))},
		{"too few verdicts", failed(VerdictsFromProto(&pb.Verdicts{}, backends.To("a")))},
		{"too many verdicts", failed(VerdictsFromProto(&pb.Verdicts{Verdicts: []*pb.Verdict{{Recipient: "a"}, {Recipient: "b"}}}, backends.To("a")))},
		{"other order", failed(VerdictsFromProto(&pb.Verdicts{Verdicts: []*pb.Verdict{{Recipient: "b"}, {Recipient: "a"}}}, backends.To("a", "b")))},
		{"other spelling", failed(VerdictsFromProto(&pb.Verdicts{Verdicts: []*pb.Verdict{{Recipient: "A"}}}, backends.To("a")))},
		{"a verdict that is none", failed(VerdictsFromProto(&pb.Verdicts{Verdicts: []*pb.Verdict{nil}}, backends.To("a")))},
		{"too few removals", failed(RemovalsFromProto(&pb.Removals{}, []backends.MessageID{"a"}))},
		{"removals of others", failed(RemovalsFromProto(&pb.Removals{Removals: []*pb.Removal{{Id: []byte("b")}}}, []backends.MessageID{"a"}))},
		{"outgoing without id", failed(OutgoingFromProto(&pb.Outgoing{Recipients: []*pb.Recipient{{Address: "a@b"}}}))},
		{"outgoing without recipients", failed(OutgoingFromProto(&pb.Outgoing{Id: []byte("x")}))},
		{"outgoing from nobody", failed(OutgoingFromProto(&pb.Outgoing{Id: []byte("x"), Envelope: &pb.Envelope{ReversePath: "x"}, Recipients: []*pb.Recipient{{Address: "a@b"}}}))},
		{"outgoing with a command", failed(OutgoingFromProto(&pb.Outgoing{Id: []byte("x"), Recipients: []*pb.Recipient{{Address: "a@b>\r\nDATA"}}}))},
	} {
		if test.err == nil {
			t.Errorf("%s: no error", test.name)
		}
	}
}

// TestNotUTF8: what protobuf cannot carry is refused before it makes the whole call fail.
func TestNotUTF8(t *testing.T) {
	const bad = "\xe4"
	failed := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"user":         failed(CredentialToProto(backends.Credential{User: bad})),
		"act as":       failed(CredentialToProto(backends.Credential{ActAs: bad})),
		"folder":       failed(OpenToProto(backends.OpenRequest{Folder: bad})),
		"reverse-path": failed(ResolveToProto(backends.ResolveQuery{Envelope: backends.Envelope{From: bad}})),
		"recipient":    failed(ResolveToProto(backends.ResolveQuery{Recipients: backends.To(bad)})),
		"delivery":     failed(DeliveryToProto(backends.Delivery{Key: "k", Recipients: backends.To(bad)})),
		"charset":      failed(RenderingToProto(backends.Rendering{Charset: bad})),
		"settings":     failed(SettingsToProto(backends.Settings{Domains: []string{bad}})),
		"verdict":      failed(VerdictsToProto([]backends.Verdict{{Recipient: bad}})),
		"settlement":   failed(SettlementsToProto([]backends.Settlement{{ID: "i", Verdicts: []backends.Verdict{{Recipient: bad}}}})),
		"outgoing":     failed(OutgoingToProto(backends.Outgoing{ID: "i", Envelope: backends.Envelope{From: bad}})),
	} {
		if !errors.Is(err, ErrText) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p := PeerToProto(backends.Peer{Address: bad, Session: "a\nb"}); p.GetAddress() != "?" || p.GetSession() != "a b" {
		t.Error(p)
	}
}

// TestMended: what can be mended without changing its meaning is.
func TestMended(t *testing.T) {
	entry, err := EntryFromProto(&pb.Entry{
		Id: []byte("x"), Size: -7, Exact: true, Uidl: "with space", Received: &timestamppb.Timestamp{Seconds: math.MaxInt64},
	})
	same(t, must(t, entry, err), backends.Entry{ID: "x", Size: -1})
	d, err := DescriptionFromProto(&pb.Description{
		Name: "n", Credentials: []pb.CredentialKind{0, 1, 1, 77}, Mechanisms: []string{"plain", "PLAIN", "A B", ""},
		Limits: &pb.Limits{MessageSize: -1, Recipients: -1},
	})
	same(t, must(t, d, err), backends.Description{
		Name: "n", Credentials: []backends.CredentialKind{backends.CredentialPassword}, Mechanisms: []string{"PLAIN"},
	})
}

// TestManyMechanisms: the number of names that a plugin says costs no more than their octets.
func TestManyMechanisms(t *testing.T) {
	m := &pb.Description{Name: "n"}
	for i := range 300_000 {
		m.Mechanisms = append(m.Mechanisms, fmt.Sprintf("M-%d", i))
	}
	d, err := DescriptionFromProto(m)
	if err != nil || len(d.Mechanisms) != mechanismMost {
		t.Error(len(d.Mechanisms), err)
	}
}

// TestTimes: a time that no message can be of is not known.
func TestTimes(t *testing.T) {
	for at, known := range map[time.Time]bool{
		noon: true, time.Date(1969, 7, 20, 0, 0, 0, 0, time.UTC): true, time.Unix(0, 0): true,
		time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC): false, time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC): false,
	} {
		e, err := EntryFromProto(&pb.Entry{Id: []byte("x"), Received: timestamppb.New(at)})
		if err != nil || e.Received.IsZero() == known {
			t.Errorf("%v: %v, %v", at, e.Received, err)
		}
	}
}

func TestLine(t *testing.T) {
	for _, test := range []struct {
		in   string
		n    int
		want string
	}{
		{"", 5, ""},
		{" a\tb\r\n ", 5, "a b"},
		{"abcdef", 3, "abc"},
		{"ééé", 3, "é"},
		{"é", 1, ""},
		{"ab c", 3, "ab"},
		{"a\x00\x1b\x7fb\u0085\u202e\xff", 20, "a   b ??"},
	} {
		if got := Line(test.in, test.n); got != test.want {
			t.Errorf("Line(%q, %d) = %q, want %q", test.in, test.n, got, test.want)
		}
	}
}

// FuzzFromProto gives octets from the wire to every function that reads a plugin's answers:
// none panics, and what they let through keeps the rules.
func FuzzFromProto(f *testing.F) {
	seeds := []proto.Message{
		&pb.Entry{Id: []byte("x"), Size: 5, Uidl: "u"},
		&pb.Account{Id: "id", Address: "a@b", Addresses: []string{"@b"}},
		&pb.Failure{Kind: 3, Code: "5.7.8", Text: "t", Detail: "d", RetryAfter: durationpb.New(time.Minute)},
		&pb.Failure{Kind: 1, Code: "4.3.0", Text: strings.Repeat("t", textMost-1) + " t", Detail: strings.Repeat("d", detailMost-1) + " d"},
		&pb.Description{Name: "n", Mechanisms: []string{"PLAIN"}, Limits: &pb.Limits{Recipients: 3}, Settings: []*pb.Setting{{Path: "p", Type: "t", Doc: "d", Values: []string{"v"}}}},
		&pb.Hint{Kind: 1, Account: "id"},
		&pb.MaildropResponse{FolderId: "INBOX", Response: &pb.MaildropResponse_Opened{Opened: &pb.Account{Id: "id", FormerIds: []string{"former"}, DisplayName: "A"}}},
		&pb.HealthResponse{Metrics: []*pb.Metric{{Name: "m", Help: "h", Kind: 3, Buckets: []*pb.Metric_Bucket{{UpTo: 1}}}}},
		&pb.Measured{Id: []byte("a"), Size: 5, Top: []byte("x")},
		&pb.MaySendResponse{Right: 2},
		&pb.Step{Name: "n", Outcome: 3, Took: durationpb.New(time.Second), Detail: "d", Cause: "c-1", Advice: "a"},
		&pb.Outgoing{Id: []byte("x"), Recipients: []*pb.Recipient{{Address: "a@b"}}},
		&pb.Verdicts{Verdicts: []*pb.Verdict{{Recipient: "a"}}},
		&pb.ConfigureResponse{Problems: []*pb.SettingsProblem{{Path: "p"}}},
		&pb.VaultPut{Value: []byte("x"), Version: 1, Keep: durationpb.New(time.Hour), Lease: "l"},
		&pb.VaultLease{Life: durationpb.New(time.Minute)},
	}
	for _, m := range seeds {
		octets, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(octets)
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		read := func(m proto.Message) bool { return proto.Unmarshal(octets, m) == nil }
		if m := new(pb.Entry); read(m) {
			if e, err := EntryFromProto(m); err == nil && (len(e.ID) == 0 || len(e.ID) > IDMost || e.Size < -1 || len(e.UIDL) > 70) {
				t.Errorf("%+v", e)
			}
		}
		if m := new(pb.Account); read(m) {
			if a, err := AccountFromProto(m); err == nil && (a.ID == "" || !printable(a.ID+a.Address+a.DisplayName)) {
				t.Errorf("%+v", a)
			} else if err == nil {
				clean(t, a)
			}
		}
		if m := new(pb.Failure); read(m) {
			g := FailureFromProto(m)
			if _, known := backends.Replies[g.Kind]; !known || g.RetryAfter < 0 || !utf8.ValidString(g.Detail) || strings.ContainsAny(g.Text+g.Detail, "\r\n\x1b") {
				t.Errorf("%+v", g)
			}
			clean(t, g)
			if again := FailureFromProto(FailureToProto(g)); !cmp.Equal(again, g, noCause) {
				t.Errorf("%+v is not stable: %+v", g, again)
			}
		}
		if m := new(pb.Description); read(m) {
			if d, err := DescriptionFromProto(m); err == nil && (d.Name == "" || d.Limits.MessageSize < 0 || d.Limits.Recipients < 0) {
				t.Errorf("%+v", d)
			} else if err == nil {
				clean(t, d)
			}
		}
		if m := new(pb.Outgoing); read(m) {
			if o, err := OutgoingFromProto(m); err == nil && strings.ContainsAny(o.From+strings.Join(backends.Addresses(o.Recipients), ""), "\r\n") {
				t.Errorf("%+v", o)
			} else if err == nil {
				clean(t, o)
			}
		}
		if m := new(pb.Verdicts); read(m) {
			if v, err := VerdictsFromProto(m, backends.To("a")); err == nil && (len(v) != 1 || v[0].Recipient != "a") {
				t.Errorf("%+v", v)
			} else if err == nil {
				v[0].Account = "" // it is compared, and nothing else
				clean(t, v)
			}
		}
		if m := new(pb.Removals); read(m) {
			if r, err := RemovalsFromProto(m, []backends.MessageID{"a"}); err == nil && (len(r) != 1 || r[0].ID != "a") {
				t.Errorf("%+v", r)
			} else if err == nil {
				clean(t, r)
			}
		}
		if m := new(pb.ConfigureResponse); read(m) {
			if wrong, is := ProblemsFromProto(m).(*backends.SettingsError); is {
				clean(t, wrong.Problems)
			}
		}
		if m := new(pb.Hint); read(m) {
			clean(t, HintFromProto(m))
		}
		if m := new(pb.VaultPut); read(m) {
			if c, err := VaultPutFromProto(m); err == nil && (c.Keep < 0 || c.Keep > vaultKeepMost) {
				t.Errorf("kept for %v", c.Keep)
			}
		}
		if m := new(pb.VaultLease); read(m) {
			_, _ = VaultLifeFromProto(m.GetLife())
		}
		if m := new(pb.Step); read(m) {
			s := StepFromProto(m)
			clean(t, s)
			if s.Outcome.String() == "" || s.Took < 0 || len(s.Name) > stepNameMost || len(s.Detail) > stepTextMost || len(s.Cause) > causeMost {
				t.Errorf("%+v", s)
			}
		}
		if m := new(pb.MaildropResponse); read(m) {
			if o, err := OpenedFromProto(m); err == nil {
				clean(t, o)
			}
		}
		if m := new(pb.HealthResponse); read(m) {
			clean(t, MetricsFromProto(m.GetMetrics()))
		}
		if m := new(pb.Measured); read(m) {
			asked := backends.MeasureRequest{IDs: []backends.MessageID{"a"}, Sizes: true}
			if v, err := MeasuredFromProto(m, asked, "a"); err == nil && (v.Failure == nil) != (v.Size >= 0) || len(v.Top) > 0 {
				t.Errorf("%+v", v)
			}
		}
		if m := new(pb.MaySendResponse); read(m) {
			if right, err := SendRightFromProto(m); err == nil && !validRight(right) {
				t.Errorf("%v", right)
			}
		}
	})
}

// clean wants each text in a value that came from a plugin to be UTF-8 without control characters. The
// store's ids of messages and an account's grant are octets of its own.
func clean(t *testing.T, value any) {
	t.Helper()
	for _, text := range textsIn(reflect.ValueOf(value)) {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%q in %+v", text, value)
		}
	}
}

func textsIn(v reflect.Value) (texts []string) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() != reflect.TypeFor[backends.MessageID]() {
			texts = append(texts, v.String())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			texts = textsIn(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			texts = append(texts, textsIn(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				texts = append(texts, textsIn(v.Field(i))...)
			}
		}
	}
	return texts
}

// TestEnvelopeFromProto: what cannot be is as if it had been left out, and nothing else of it is.
func TestEnvelopeFromProto(t *testing.T) {
	from := backends.Envelope{From: "a@x.example"}
	for _, test := range []struct {
		name string
		in   *pb.Envelope
		want backends.Envelope
	}{
		{"nothing", nil, backends.Envelope{}},
		{"values of the future", &pb.Envelope{ReversePath: "a@x.example", Ret: 7, Body: 7}, from},
		{"ENVID with a line end", &pb.Envelope{ReversePath: "a@x.example", Id: "a\r\nb"}, from},
		{"ENVID of 101 characters", &pb.Envelope{ReversePath: "a@x.example", Id: strings.Repeat("x", 101)}, from},
		{"until no time", &pb.Envelope{ReversePath: "a@x.example", DeliverBy: &pb.DeliverBy{Trace: true}}, from},
		{"priority above the highest", &pb.Envelope{Priority: 99}, backends.Envelope{Priority: 9}},
		{"priority below the lowest", &pb.Envelope{Priority: -99}, backends.Envelope{Priority: -9}},
	} {
		t.Run(test.name, func(t *testing.T) { same(t, envelopeFromProto(test.in), test.want) })
	}
}

func TestRecipientsFromProto(t *testing.T) {
	for _, test := range []struct {
		name string
		in   *pb.Recipient
		want backends.Recipient
	}{
		{"NEVER and SUCCESS", &pb.Recipient{Address: "a@b", Notify: []pb.Notify{1, 2}}, backends.Recipient{Address: "a@b"}},
		{"an event of the future", &pb.Recipient{Address: "a@b", Notify: []pb.Notify{3, 99}}, backends.Recipient{Address: "a@b", Notify: backends.NotifyFailure}},
		{"ORCPT too long", &pb.Recipient{Address: "a@b", OriginalRecipient: strings.Repeat("x", 501)}, backends.Recipient{Address: "a@b"}},
		{"ORCPT with a line end", &pb.Recipient{Address: "a@b", OriginalRecipient: "rfc822;a\r\nb"}, backends.Recipient{Address: "a@b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			same(t, recipientsFromProto([]*pb.Recipient{test.in}), []backends.Recipient{test.want})
		})
	}
}

// TestVerdictsContradict: a verdict whose action and failure cannot both be true does not cross the
// wire in either direction.
func TestVerdictsContradict(t *testing.T) {
	for _, action := range []backends.Action{backends.ActionDelivered, backends.ActionRelayed, backends.ActionExpanded, backends.ActionFailed} {
		v := backends.Verdict{Recipient: "a@b", Action: action}
		m := &pb.Verdict{Recipient: "a@b", Action: pb.Action(action)}
		if action != backends.ActionFailed {
			v.Failure, m.Failure = backends.Fail(backends.Permanent, "no"), &pb.Failure{Kind: 2}
		}
		if _, err := VerdictsToProto([]backends.Verdict{v}); !errors.Is(err, errWire) {
			t.Errorf("%v goes out: %v", action, err)
		}
		if _, err := VerdictsFromProto(&pb.Verdicts{Verdicts: []*pb.Verdict{m}}, backends.To("a@b")); !errors.Is(err, errWire) {
			t.Errorf("%v comes in: %v", action, err)
		}
	}
}

// TestDirectoryFromProto: an entry that is not valid is passed over, and its verdict counts.
func TestDirectoryFromProto(t *testing.T) {
	many := make([]string, backends.MembersMost+1)
	for i := range many {
		many[i] = fmt.Sprintf("m%d@b", i)
	}
	for _, test := range []struct {
		name string
		in   *pb.DirectoryEntry
		want *backends.DirectoryEntry
	}{
		{"none", nil, nil},
		{"unknown preferences", &pb.DirectoryEntry{Address: "a@b", RichText: 99, Format: -1}, &backends.DirectoryEntry{Address: "a@b"}},
		{"no address", &pb.DirectoryEntry{Address: "a"}, nil},
		{"too many members", &pb.DirectoryEntry{Address: "a@b", Members: many}, nil},
		{"a member with a line end", &pb.DirectoryEntry{Members: []string{"a\r\n@b"}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &pb.Verdicts{Verdicts: []*pb.Verdict{{Recipient: "a@b", Directory: test.in}}}
			got, err := VerdictsFromProto(m, backends.To("a@b"))
			same(t, must(t, got, err), []backends.Verdict{{Recipient: "a@b", Directory: test.want}})
		})
	}
	m, err := VerdictsToProto([]backends.Verdict{{Recipient: "a@b", Directory: &backends.DirectoryEntry{Address: "\xff@b"}}})
	if err != nil || m.GetVerdicts()[0].GetDirectory() != nil {
		t.Errorf("an entry that cannot cross: %v, %v", m, err)
	}
}

// TestReadingFromProto: what is not known here, or no name of a renderer, is left out.
func TestReadingFromProto(t *testing.T) {
	got := readingFromProto(&pb.Reading{
		Disposals: []pb.Disposal{1, 1, 99}, Encodings: []pb.Encoding{-1}, Bodies: []pb.BodyForm{2, 300}, Renderer: "a\nb",
	})
	same(t, got, backends.Reading{Disposals: []backends.Disposal{backends.DisposalTrash}, Bodies: []backends.BodyForm{backends.BodyHTML}})
	if err := DescriptionMended(&pb.Description{Reading: &pb.Reading{Renderer: strings.Repeat("r", 65)}}); err == nil {
		t.Error("a renderer's name of 65 characters is mended in silence")
	}
}
