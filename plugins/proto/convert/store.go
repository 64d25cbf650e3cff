package convert

import (
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// DescriptionToProto makes a description ready for the wire.
func DescriptionToProto(d backends.Description) *pb.Description {
	m := &pb.Description{
		Name:    Line(d.Name, nameMost),
		Version: Line(d.Version, nameMost),
		Vendor:  Line(d.Vendor, nameMost),
		Capabilities: &pb.Capabilities{
			Reader:        d.Capabilities.Reader,
			Receiver:      d.Capabilities.Receiver,
			Sender:        d.Capabilities.Sender,
			Outbox:        d.Capabilities.Outbox,
			Authenticator: d.Capabilities.Authenticator,
			Watcher:       d.Capabilities.Watcher,
			SendRights:    d.Capabilities.SendRights,
			SendSessions:  d.Capabilities.SendSessions,
			Examiner:      d.Capabilities.Examiner,
			Deliveries:    d.Capabilities.Deliveries,
		},
		ExactSizes: d.ExactSizes,
		Limits: &pb.Limits{
			MessageSize:     d.Limits.MessageSize,
			Recipients:      toInt32(d.Limits.Recipients),
			Maildrops:       toInt32(d.Limits.Maildrops),
			FetchesAtOnce:   toInt32(d.Limits.FetchesAtOnce),
			RemovalsAtATime: toInt32(d.Limits.RemovalsAtATime),
		},
	}
	m.Reading = readingToProto(d.Reading)
	for _, k := range d.Credentials {
		m.Credentials = append(m.Credentials, pb.CredentialKind(k))
	}
	for _, name := range d.Mechanisms {
		m.Mechanisms = append(m.Mechanisms, Line(name, nameMost))
	}
	for _, s := range d.Settings {
		m.Settings = append(m.Settings, &pb.Setting{
			Path: Line(s.Path, pathMost), Type: Line(string(s.Type), nameMost), Default: Line(s.Default, defaultMost), Doc: Line(s.Doc, docMost),
			Values: Lines(s.Values, valuesMost, nameMost), Secret: s.Secret, Required: s.Required,
		})
	}
	return m
}

// Bounds of what documents a setting.
const (
	settingsMost = 256
	pathMost     = 256
	defaultMost  = 256
	docMost      = 2048
	valuesMost   = 64
)

// settingsDocumented reads what documents the settings: those without a path are left out, and so is the
// default of a secret.
func settingsDocumented(all []*pb.Setting) (settings []backends.Setting) {
	for _, m := range all[:min(len(all), settingsMost)] {
		s := backends.Setting{
			Path: Line(m.GetPath(), pathMost), Type: backends.SettingType(Line(m.GetType(), nameMost)), Doc: Line(m.GetDoc(), docMost),
			Values: Lines(m.GetValues(), valuesMost, nameMost), Secret: m.GetSecret(), Required: m.GetRequired(),
		}
		if !s.Secret {
			s.Default = Line(m.GetDefault(), defaultMost)
		}
		if s.Path != "" {
			settings = append(settings, s)
		}
	}
	return settings
}

// Lines makes lines of at most so many texts, see [Line]; nil of none.
func Lines(texts []string, most, octets int) (lines []string) {
	for _, text := range texts[:min(len(texts), most)] {
		lines = append(lines, Line(text, octets))
	}
	return lines
}

// DescriptionFromProto reads a description. A name of lower case letters, digits and hyphens is needed; credential kinds and mechanism
// names that are not known or not well formed are dropped, negative limits are no limits.
func DescriptionFromProto(m *pb.Description) (backends.Description, error) {
	d := backends.Description{
		Name:       Line(m.GetName(), nameMost),
		Version:    Line(m.GetVersion(), nameMost),
		Vendor:     Line(m.GetVendor(), nameMost),
		ExactSizes: m.GetExactSizes(),
		Capabilities: backends.Capabilities{
			Reader:        m.GetCapabilities().GetReader(),
			Receiver:      m.GetCapabilities().GetReceiver(),
			Sender:        m.GetCapabilities().GetSender(),
			Outbox:        m.GetCapabilities().GetOutbox(),
			Authenticator: m.GetCapabilities().GetAuthenticator(),
			Watcher:       m.GetCapabilities().GetWatcher(),
			SendRights:    m.GetCapabilities().GetSendRights(),
			SendSessions:  m.GetCapabilities().GetSendSessions(),
			Examiner:      m.GetCapabilities().GetExaminer(),
			Deliveries:    m.GetCapabilities().GetDeliveries(),
		},
		Limits: backends.Limits{
			MessageSize:     max(0, m.GetLimits().GetMessageSize()),
			Recipients:      max(0, int(m.GetLimits().GetRecipients())),
			Maildrops:       max(0, int(m.GetLimits().GetMaildrops())),
			FetchesAtOnce:   max(0, int(m.GetLimits().GetFetchesAtOnce())),
			RemovalsAtATime: max(0, int(m.GetLimits().GetRemovalsAtATime())),
		},
	}
	d.Settings = settingsDocumented(m.GetSettings())
	if !validName(m.GetName()) {
		return d, wireError("a description with the name %q, which is not of lower case letters, digits and hyphens", d.Name)
	}
	d.Reading = readingFromProto(m.GetReading())
	for _, k := range m.GetCredentials() {
		kind := backends.CredentialKind(k)
		if knownCredential(k) && !slices.Contains(d.Credentials, kind) {
			d.Credentials = append(d.Credentials, kind)
		}
	}
	for _, name := range m.GetMechanisms() {
		if len(d.Mechanisms) == mechanismMost {
			break
		}
		if name = strings.ToUpper(name); validMechanism(name) && !slices.Contains(d.Mechanisms, name) {
			d.Mechanisms = append(d.Mechanisms, name)
		}
	}
	return d, nil
}

// DescriptionMended says what of a description [DescriptionFromProto] leaves out, since it breaks
// the rules. Names of credentials and mechanisms that are not known are no breach.
func DescriptionMended(m *pb.Description) error {
	l := m.GetLimits()
	least := min(l.GetMessageSize(), int64(min(l.GetRecipients(), l.GetMaildrops(), l.GetFetchesAtOnce(), l.GetRemovalsAtATime())))
	if least < 0 {
		return wireError("the limit %d; 0 is none", least)
	}
	if r := m.GetReading().GetRenderer(); readingFromProto(m.GetReading()).Renderer != r {
		return wireError("the renderer %q, which is not at most %d characters of printable ASCII", Line(r, nameMost), rendererMost)
	}
	for _, name := range m.GetMechanisms() {
		if !validMechanism(strings.ToUpper(name)) {
			return wireError("the SASL mechanism %q, which is no name of one (RFC 4422 section 3.1)", Line(name, nameMost))
		}
	}
	return nil
}

// validName checks the name of a backend's kind.
func validName(name string) bool {
	return len(name) >= 1 && len(name) <= nameMost && name[0] != '-' && name[len(name)-1] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// validMechanism checks a SASL mechanism's name (RFC 4422 §3.1).
func validMechanism(name string) bool {
	return len(name) >= 1 && len(name) <= 20 &&
		strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// SettingsToProto makes a Configure request.
func SettingsToProto(s backends.Settings) (*pb.ConfigureRequest, error) {
	if err := checkText("settings", append(slices.Clone(s.Domains), s.Store, s.Hostname, s.StateDir, s.BaseDir)...); err != nil {
		return nil, err
	}
	return &pb.ConfigureRequest{
		Store:    s.Store,
		Hostname: s.Hostname,
		Domains:  s.Domains,
		StateDir: s.StateDir,
		Raw:      s.Raw,
		BaseDir:  s.BaseDir,
		Check:    s.Check,
		Vault:    s.Vault != nil && !s.Check,
	}, nil
}

// SettingsFromProto reads a Configure request. Its vault is whoever's who has the stream.
func SettingsFromProto(m *pb.ConfigureRequest) backends.Settings {
	return backends.Settings{
		Store:    m.GetStore(),
		Hostname: m.GetHostname(),
		Domains:  m.GetDomains(),
		StateDir: m.GetStateDir(),
		Raw:      m.GetRaw(),
		BaseDir:  m.GetBaseDir(),
		Check:    m.GetCheck(),
	}
}

// problemsMost is how many problems of one settings mapping are told.
const problemsMost = 100

// ProblemsToProto makes a Configure answer of a settings error; nil: no problems.
func ProblemsToProto(e *backends.SettingsError) *pb.ConfigureResponse {
	m := &pb.ConfigureResponse{}
	if e == nil {
		return m
	}
	for i, p := range e.Problems {
		if i == problemsMost {
			break
		}
		m.Problems = append(m.Problems, &pb.SettingsProblem{
			Path:    Line(p.Path, nameMost),
			Problem: Line(p.Problem, detailMost),
			Suggest: Line(p.Suggest, detailMost),
		})
	}
	return m
}

// ProblemsFromProto reads a Configure answer: nil, or a [*backends.SettingsError].
func ProblemsFromProto(m *pb.ConfigureResponse) error {
	if len(m.GetProblems()) == 0 {
		return nil
	}
	e := &backends.SettingsError{}
	for i, p := range m.GetProblems() {
		if i == problemsMost {
			break
		}
		e.Problems = append(e.Problems, backends.SettingsProblem{
			Path:    Line(p.GetPath(), nameMost),
			Problem: Line(p.GetProblem(), detailMost),
			Suggest: Line(p.GetSuggest(), detailMost),
		})
	}
	return e
}
