package mime

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
)

// report reads a delivery status notification (RFC 3464) or a message disposition notification (RFC 8098).
// One that cannot be read is an ordinary message. MS-OXCMAIL §2.2.3.7. What machines read of it is also an attachment where it has
// recipients that the report does not.
func (c *conversion) report(e *entity.Entity) error {
	for i, part := range e.Parts {
		var read func([]*header.Header) (is, all bool)
		switch {
		case part.Is("message/delivery-status") || part.Is("message/global-delivery-status"):
			read = c.deliveryStatus
		case part.Is("message/disposition-notification") || part.Is("message/global-disposition-notification"):
			read = c.disposition
		default:
			continue
		}
		groups, whole, err := fieldGroups(part.Decoded())
		if err != nil {
			return err
		}
		is, all := read(groups)
		if !is {
			continue
		}
		if whole && all {
			c.plays(part, roleReport, nil)
		} else if _, err := c.attach(part); err != nil {
			return err
		}
		return c.each(slices.Delete(slices.Clone(e.Parts), i, i+1))
	}
	return c.walk(e)
}

// reportMost is how much of a report's fields is read, in octets.
const reportMost = 1 << 20

// fieldGroups reads groups of fields with empty lines between them, RFC 3464 §2.1. whole says whether these are all.
func fieldGroups(r io.Reader) (groups []*header.Header, whole bool, err error) {
	text, err := io.ReadAll(io.LimitReader(r, reportMost+1))
	if err != nil {
		return nil, false, err
	}
	whole = len(text) <= reportMost
	for text = text[:min(len(text), reportMost)]; len(text) > 0; {
		h, size, err := header.Read(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			return groups, false, nil // what is broken says nothing
		}
		if len(h.Fields) > 0 {
			groups = append(groups, h)
		}
		text = text[size:]
	}
	return groups, whole, nil
}

// value returns the text of the first field of a name.
func value(h *header.Header, name string) string {
	for _, f := range h.All(name) {
		return fieldText(f.Value())
	}
	return ""
}

// action is what a delivery status says of a recipient, from the harmless to the severe, and the class of a
// message that reports it. MS-OXCMAIL §2.2.3.7.1.1 and §2.1.3.6.1.1.
var actions = []struct{ name, class string }{
	{"delivered", "REPORT.IPM.Note.DR"},
	{"expanded", "REPORT.IPM.Note.Expanded.DR"},
	{"relayed", "REPORT.IPM.Note.Relayed.DR"},
	{"delayed", "REPORT.IPM.Note.Delayed.DR"},
	{"failed", "REPORT.IPM.Note.NDR"},
}

func severity(group *header.Header) int {
	name := strings.ToLower(entity.ParseParameters(value(group, "Action")).Value)
	for i, a := range actions {
		if a.name == name {
			return i
		}
	}
	return -1
}

// deliveryStatus takes the recipients from the report, those of the most severe action. MS-OXCMAIL §2.2.3.7.1. all says whether there
// are no others.
func (c *conversion) deliveryStatus(groups []*header.Header) (is, all bool) {
	most := -1
	for _, group := range groups {
		most = max(most, severity(group))
	}
	if most < 0 {
		return false, false
	}
	c.m.Set(mapi.PidTagMessageClass, mapi.String(actions[most].class))
	if mta := value(groups[0], "Reporting-MTA"); mta != "" {
		c.m.Set(mapi.PidTagReportingMessageTransferAgent, mapi.String(mta))
	}
	c.m.Recipients, all = nil, true
	for _, group := range groups {
		if severity(group) == most {
			c.reported(group)
		} else if value(group, "Final-Recipient") != "" {
			all = false
		}
	}
	return true, all
}

// reported adds the recipient of a group of fields.
func (c *conversion) reported(group *header.Header) {
	recipient := typed(value(group, "Final-Recipient"))
	name := value(group, "X-Display-Name")
	if name == "" {
		name = recipient
	}
	r := c.addRecipient(mapi.Address{Name: name, Type: mapi.AddressSMTP, Address: recipient, SMTP: recipient}, 1)
	if !c.sent.IsZero() {
		r.Set(mapi.PidTagReportTime, mapi.NewTime(c.sent))
	}
	status, mta := value(group, "Status"), value(group, "Remote-MTA")
	if mta != "" {
		r.Set(mapi.PidTagRemoteMessageTransferAgent, mapi.String(mta))
	}
	supplement := value(group, "X-Supplementary-Info")
	if supplement == "" {
		supplement = "<" + strings.TrimSpace(mta+" #"+status+" "+value(group, "Diagnostic-Code")) + ">"
	}
	r.Set(mapi.PidTagSupplementaryInfo, mapi.String(supplement))
	setStatus(r, status)
}

// typed returns what is behind the type in a field such as Final-Recipient, RFC 3464 §2.3.2.
func typed(value string) string {
	_, text, found := strings.Cut(value, ";")
	if !found {
		text = value
	}
	return strings.Trim(strings.TrimSpace(text), "<>")
}

// diagnosis is what MAPI says in the place of a status code: PidTagNonDeliveryReportDiagCode and
// PidTagNonDeliveryReportReasonCode.
type diagnosis struct{ code, reason mapi.Integer32 }

// otherwise is the detail that stands for all that are not named.
const otherwise = -1

// diagnoses are by subject and detail of an enhanced status code, MS-OXCMAIL §2.2.3.7.1.3.
var diagnoses = map[int]map[int]diagnosis{
	1: {1: {35, 1}, 2: {48, 0}, 3: {32, 0}, 4: {1, 0}, 6: {40, 0}, otherwise: {0, 0}},
	2: {2: {14, 0}, 3: {14, 0}, 4: {30, 0}, otherwise: {38, 0}},
	3: {2: noDiagnosis, 3: {18, 0}, 4: {14, 0}, 5: {18, 0}, otherwise: {38, 0}},
	4: {0: noDiagnosis, 3: {-1, 6}, 4: noDiagnosis, 6: {3, 0}, 7: {5, 0}, 8: {3, 0}, otherwise: {2, 0}},
	5: {3: {16, 0}, 4: {11, 0}, otherwise: {17, 0}},
	6: {2: {9, 0}, 3: {8, 0}, 4: {25, 0}, 5: {-1, 2}, otherwise: {15, 0}},
	7: {1: {29, 0}, 2: {28, 0}, 3: {26, 0}, otherwise: {46, 0}},
}

var noDiagnosis = diagnosis{-1, 0}

// setStatus sets what an enhanced status code (RFC 3463 §2) says, MS-OXCMAIL §2.2.3.7.1.3.
func setStatus(r *mapi.Recipient, status string) {
	status, _, _ = strings.Cut(strings.TrimSpace(status), " ")
	var numbers [3]int
	for i, text := range strings.SplitN(status, ".", 3) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 9 { // §2.2.3.7.1.3: what is larger counts as 0
			n = 0
		}
		numbers[i] = n
	}
	d, known := diagnoses[numbers[1]][numbers[2]]
	if !known {
		if d, known = diagnoses[numbers[1]][otherwise]; !known {
			d = noDiagnosis
		}
	}
	r.Set(mapi.PidTagNonDeliveryReportStatusCode, mapi.Integer32(100*numbers[0]+10*numbers[1]+numbers[2]))
	r.Set(mapi.PidTagNonDeliveryReportDiagCode, d.code)
	r.Set(mapi.PidTagNonDeliveryReportReasonCode, d.reason)
}

// statusOf returns the enhanced status code of a recipient, MS-OXCMAIL §2.1.3.6.1.2.
func statusOf(r *mapi.Recipient, class int64) string {
	code, ok := r.Integer(mapi.PidTagNonDeliveryReportStatusCode)
	if !ok || code < 100 || code > 999 {
		return fmt.Sprintf("%d.0.0", class)
	}
	return fmt.Sprintf("%d.%d.%d", code/100, code/10%10, code%10)
}

// Classes of reports on a message that was read, or was not. MS-OXOMSG §2.2.2.
const (
	classRead   = "REPORT.IPM.Note.IPNRN"
	classUnread = "REPORT.IPM.Note.IPNNRN"
)

// disposition reads what has been done with a message, MS-OXCMAIL §2.2.3.7.
func (c *conversion) disposition(groups []*header.Header) (is, all bool) {
	if len(groups) == 0 {
		return false, false
	}
	mode, kind, found := strings.Cut(value(groups[0], "Disposition"), ";")
	kind, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(kind)), "/")
	switch {
	case !found:
		return false, false
	case kind == "deleted", kind == "denied", kind == "failed":
		c.m.Set(mapi.PidTagMessageClass, mapi.String(classUnread))
	case kind == "displayed", kind == "dispatched", kind == "processed":
		c.m.Set(mapi.PidTagMessageClass, mapi.String(classRead))
	default:
		return false, false
	}
	c.m.Set(mapi.PidTagReportText, mapi.String(value(groups[0], "Disposition")))
	c.m.Set(mapi.PidTagReportDisposition, mapi.String(kind))
	c.m.Set(mapi.PidTagReportDispositionMode, mapi.String(strings.TrimSpace(mode)))
	c.original(groups[0])
	if !c.sent.IsZero() {
		at := mapi.NewTime(c.sent)
		c.m.Set(mapi.PidTagReceiptTime, at)
		c.m.Set(mapi.PidTagOriginalDeliveryTime, at)
		for _, r := range c.m.Recipients {
			r.Set(mapi.PidTagReportTime, at)
		}
	}
	return true, len(groups) == 1 // RFC 8098 §3.1
}

// original sets what is known of the message that a report is on.
func (c *conversion) original(group *header.Header) {
	if id := value(group, "Original-Message-ID"); id != "" {
		c.m.Set(mapi.PidTagOriginalMessageId, mapi.String(id))
		if !c.m.Has(mapi.PidTagInternetReferences) {
			c.m.Set(mapi.PidTagInternetReferences, mapi.String(id))
		}
	}
	recipient := value(group, "Original-Recipient")
	if recipient == "" {
		recipient = value(group, "Final-Recipient")
	}
	if recipient != "" {
		c.m.Set(mapi.PidTagOriginalDisplayTo, mapi.String(typed(recipient)))
	}
	if key, err := base64.StdEncoding.DecodeString(value(group, "X-MSExch-Correlation-Key")); err == nil && len(key) > 0 {
		c.m.Set(mapi.PidTagParentKey, mapi.Binary(key))
	}
}

// report plans a report: its text, what machines read, and its attachments. It returns nil if the class is not one of
// those that MIME has reports for. MS-OXCMAIL §2.1.3.6.
func (p *planner) report(class string) (*part, error) {
	fields, kind := p.reportFields(class)
	if fields == "" {
		return nil, nil
	}
	body, _, err := p.body()
	if err != nil {
		return nil, err
	}
	if body == nil { // RFC 6522 §3: there is a text
		if body, err = p.textPart("text/plain", func(io.Writer) error { return nil }, ""); err != nil {
			return nil, err
		}
	}
	content := func(w io.Writer) error {
		_, err := io.WriteString(w, fields)
		return err
	}
	sum, err := sumOf(content)
	if err != nil {
		return nil, err
	}
	machine := leaf(content, []string{"Content-Type: message/" + kind + "\r\n"}, "", sum)
	_, attached, err := p.attachments(nil)
	parts := append([]*part{body, machine}, attached...)
	return &part{subtype: "report", extra: ";\r\n\treport-type=" + kind, parts: parts}, err
}

// reportFields returns what machines read in a report, and of which kind it is.
func (p *planner) reportFields(class string) (fields, kind string) {
	switch {
	case strings.HasSuffix(class, ".ipnrn"):
		return p.dispositionFields("displayed"), "disposition-notification"
	case strings.HasSuffix(class, ".ipnnrn"):
		return p.dispositionFields("deleted"), "disposition-notification"
	}
	for _, a := range slices.Backward(actions) { // the plain .DR comes last
		_, suffix, _ := strings.Cut(strings.ToLower(a.class), "report.ipm.note")
		if strings.HasSuffix(class, suffix) {
			return p.statusFields(a.name), "delivery-status"
		}
	}
	return "", ""
}

// statusClass is the class of a status code that says no more than the action does, RFC 3463 §2.
var statusClass = map[string]int64{"delivered": 2, "expanded": 2, "relayed": 2, "delayed": 4, "failed": 5}

// statusFields returns the fields of a delivery status notification, MS-OXCMAIL §2.1.3.6.1.
func (p *planner) statusFields(action string) string {
	var b strings.Builder
	mta := p.m.Text(mapi.PidTagReportingMessageTransferAgent)
	if mta == "" {
		mta = "dns; " + cmp.Or(p.Domain, "localhost")
	}
	b.WriteString(entity.FormatText("Reporting-MTA", mta))
	for _, r := range p.m.Recipients {
		a, _ := r.Address(mapi.RecipientAddress)
		b.WriteString("\r\n" + entity.FormatText("Final-Recipient", "rfc822; "+p.internet(a).Address))
		b.WriteString(entity.FormatText("Action", action))
		b.WriteString(entity.FormatText("Status", statusOf(r, statusClass[action])))
		for _, f := range []struct {
			name string
			tag  mapi.Tag
		}{{"Remote-MTA", mapi.PidTagRemoteMessageTransferAgent}, {"X-Supplementary-Info", mapi.PidTagSupplementaryInfo}} {
			if text := r.Text(f.tag); text != "" {
				b.WriteString(entity.FormatText(f.name, text))
			}
		}
		if a.Name != "" && a.Name != a.Address {
			b.WriteString(entity.FormatText("X-Display-Name", a.Name))
		}
	}
	return b.String()
}

// dispositionFields returns the fields of a message disposition notification, MS-OXCMAIL §2.1.3.6.2.
func (p *planner) dispositionFields(kind string) string {
	var b strings.Builder
	recipient, is := p.m.Address(mapi.SenderAddress)
	if !is {
		recipient, _ = p.m.Address(mapi.SentRepresentingAddress)
	}
	b.WriteString(entity.FormatText("Final-Recipient", "rfc822; "+p.internet(recipient).Address))
	mode := cmp.Or(p.m.Text(mapi.PidTagReportDispositionMode), "automatic-action/MDN-sent-automatically")
	b.WriteString(entity.FormatText("Disposition", mode+"; "+cmp.Or(p.m.Text(mapi.PidTagReportDisposition), kind)))
	if key := p.m.Bytes(mapi.PidTagParentKey); len(key) > 0 {
		b.WriteString(entity.FormatText("X-MSExch-Correlation-Key", base64.StdEncoding.EncodeToString(key)))
	}
	if id := p.m.Text(mapi.PidTagOriginalMessageId); id != "" {
		b.WriteString(entity.FormatText("Original-Message-ID", id))
	}
	return b.String()
}
