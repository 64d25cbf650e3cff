package convert

import (
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// Bounds of a step's texts, in octets.
const (
	stepNameMost = 200
	stepTextMost = 2048
	causeMost    = 64
)

// ExamineToProto makes a request ready for the wire. [ErrText]: a name is not UTF-8.
func ExamineToProto(r backends.ExamineRequest) (*pb.ExamineRequest, error) {
	if err := checkText("folder", r.Folder); err != nil {
		return nil, err
	}
	m := &pb.ExamineRequest{Folder: r.Folder, FreshToken: r.FreshToken}
	if r.Credential.Kind == 0 {
		return m, nil
	}
	var err error
	m.Credential, err = CredentialToProto(r.Credential)
	return m, err
}

// ExamineFromProto reads a request. A credential of a kind that is not known is [backends.Unsupported].
func ExamineFromProto(m *pb.ExamineRequest) (backends.ExamineRequest, error) {
	r := backends.ExamineRequest{Folder: m.GetFolder(), FreshToken: m.GetFreshToken()}
	if m.GetCredential() == nil {
		return r, nil
	}
	var err error
	r.Credential, err = CredentialFromProto(m.GetCredential())
	return r, err
}

// StepToProto makes a step ready for the wire.
func StepToProto(s backends.Step) *pb.Step {
	s = cleanStep(s)
	return &pb.Step{
		Name: s.Name, Outcome: pb.StepOutcome(s.Outcome), Took: durationpb.New(s.Took),
		Detail: s.Detail, Cause: s.Cause, Advice: s.Advice,
	}
}

// StepFromProto reads a step: texts become lines, an outcome that is not known is a failure, and a cause that is no
// word of one is left out.
func StepFromProto(m *pb.Step) backends.Step {
	return cleanStep(backends.Step{
		Name: m.GetName(), Outcome: backends.StepOutcome(max(0, min(m.GetOutcome(), 255))), Took: m.GetTook().AsDuration(),
		Detail: m.GetDetail(), Cause: m.GetCause(), Advice: m.GetAdvice(),
	})
}

func cleanStep(s backends.Step) backends.Step {
	s.Name, s.Detail, s.Advice = Line(s.Name, stepNameMost), Line(s.Detail, stepTextMost), Line(s.Advice, stepTextMost)
	s.Took = max(0, s.Took)
	if s.Outcome < backends.StepGood || s.Outcome > backends.StepSkipped {
		s.Outcome = backends.StepFailed
	}
	if len(s.Cause) > causeMost || strings.Trim(s.Cause, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		s.Cause = ""
	}
	return s
}
