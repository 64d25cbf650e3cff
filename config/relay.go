package config

import (
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// Relay is how mail is relayed: what routes have in common.
type Relay struct {
	// Resolvers are DNS servers with their ports; none: the system's.
	Resolvers []string `yaml:"resolvers"`
	// Port is where hosts that DNS names are connected to (RFC 5321 §4.5.4.2).
	Port int `yaml:"port" min:"1" max:"65535"`
	// Connections are how many there are at a time in all, and PerDestination to one destination.
	Connections    int `yaml:"connections" min:"1" max:"10000"`
	PerDestination int `yaml:"per_destination" min:"1" max:"1000"`
	// Messages are how many one connection carries.
	Messages int `yaml:"messages" min:"1" max:"100000"`
	// Retry are the waits after the first attempt, the second and so on; the last one goes on.
	Retry []Duration `yaml:"retry" min:"1s" max:"1d"`
	// Expire is for how long a message is tried, and DelayNotice when its sender is told that it waits.
	Expire      Duration `yaml:"expire" min:"1m" max:"30d"`
	DelayNotice Duration `yaml:"delay_notice" min:"1s" max:"30d"`
	// Urgent and NonUrgent are the same for mail of a priority above 0, and below (MT-PRIORITY, RFC 6710).
	Urgent    Timing `yaml:"urgent"`
	NonUrgent Timing `yaml:"non_urgent"`
	// Language is that of reports.
	Language string `yaml:"language" enum:"en de"`
	// ReportTo gets a copy of each report on a failure; empty: nobody does. ReportClasses are the status codes of
	// which (RFC 3463), or their beginnings; none: all.
	ReportTo      string   `yaml:"report_to"`
	ReportClasses []string `yaml:"report_classes"`
}

// Timing is what is particular about mail of a priority. What is not set follows from the relay's own values: the same
// waits; two fifths of Expire and a quarter of DelayNotice for urgent mail, seven fifths and twice as much for what is not urgent.
type Timing struct {
	Retry       []Duration `yaml:"retry,omitempty" min:"1s" max:"1d"`
	Expire      *Duration  `yaml:"expire,omitempty" min:"1m" max:"42d"`
	DelayNotice *Duration  `yaml:"delay_notice,omitempty" min:"1s" max:"42d"`
}

func (t Timing) or(retry []Duration, expire, notice Duration) Timing {
	if len(t.Retry) == 0 {
		t.Retry = retry
	}
	if t.Expire == nil {
		t.Expire = &expire
	}
	if t.DelayNotice == nil {
		notice = min(notice, *t.Expire)
		t.DelayNotice = &notice
	}
	return t
}

// Timings are those of urgent mail, of mail without a priority, and of what is not urgent, complete.
func (r Relay) Timings() (urgent, normal, nonUrgent Timing) {
	return r.Urgent.or(r.Retry, r.Expire*2/5, r.DelayNotice/4), Timing{r.Retry, &r.Expire, &r.DelayNotice}, r.NonUrgent.or(r.Retry, r.Expire*7/5, 2*r.DelayNotice)
}

func defaultRelay() Relay {
	return Relay{
		Resolvers: []string{}, ReportClasses: []string{}, Port: 25, Connections: 100, PerDestination: 10, Messages: 100, Language: "en",
		Retry:  []Duration{minutes(15), minutes(30), minutes(60), minutes(4 * 60)},
		Expire: minutes(5 * 24 * 60), DelayNotice: minutes(4 * 60),
	}
}

// mostRetries bounds the waits between attempts.
const mostRetries = 100

// relaying checks what routes have in common.
func (d *decoder) relaying(r *Relay) {
	for i := range r.Resolvers {
		d.host(index("relay.resolvers", i), "53", &r.Resolvers[i])
	}
	if len(r.Retry) == 0 && !d.failed["relay.retry"] {
		d.at("relay.retry", "write retry: [15m, 30m, 1h, 4h]", "there is no wait between attempts")
	}
	urgent, normal, nonUrgent := r.Timings()
	d.timing("relay", normal)
	if !d.failed["relay"] { // what is wrong there is not told again
		d.timing("relay.urgent", urgent)
		d.timing("relay.non_urgent", nonUrgent)
	}
	d.copies(r)
}

func (d *decoder) timing(path string, t Timing) {
	if len(t.Retry) > mostRetries {
		d.at(join(path, "retry"), "the last wait goes on by itself", "there are more than %d waits", mostRetries)
	}
	if *t.DelayNotice > *t.Expire {
		d.at(join(path, "delay_notice"), "make it shorter than expire", "nobody would be told of a delay before the message is given up")
	}
}

// failureClass is a status code of a failure, or its beginning (RFC 3463 §2).
var failureClass = lazyregexp.New(`^[45](\.[0-9]{1,3}){0,2}$`)

// copies puts in order who gets copies of reports.
func (d *decoder) copies(r *Relay) {
	if r.ReportTo != "" {
		box, err := address.Parse(r.ReportTo)
		if err != nil {
			d.at("relay.report_to", "write postmaster@ and a domain of yours", "%q is no mail address", r.ReportTo)
		} else {
			r.ReportTo = box.String()
		}
	}
	if len(r.ReportClasses) > 0 && r.ReportTo == "" && !d.failed["relay.report_to"] {
		d.at("relay.report_classes", "set relay.report_to", "nobody gets copies of reports")
	}
	for i, class := range r.ReportClasses {
		if !failureClass.MatchString(class) {
			d.at(index("relay.report_classes", i), "write 5.1, say, or 5.1.1", "%q is no status code of failures, or the beginning of one", class)
		}
	}
}
