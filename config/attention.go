package config

import "github.com/dipylon/dipylon/backends/mail/address"

// Attention is who is told of what needs attention (dipylon status), beside the log and the metrics, and what does.
type Attention struct {
	// MailTo gets a mail a day while something does; empty: Relay.ReportTo, and where that is empty, too, nobody.
	MailTo string `yaml:"mail_to"`
	// MailFrom is whom it is from; empty: postmaster@ and the gateway's name, with the null reverse-path.
	MailFrom string `yaml:"mail_from"`
	// QueueAge is how long mail may be in transit, and QueueRecipients how much of it may be.
	QueueAge        Duration `yaml:"queue_age" min:"1m" max:"30d"`
	QueueRecipients int      `yaml:"queue_recipients" min:"1" max:"100000000"`
}

func defaultAttention() Attention {
	return Attention{QueueAge: minutes(24 * 60), QueueRecipients: 10_000}
}

// attention checks the addresses.
func (d *decoder) attention(a *Attention) {
	for at, text := range map[string]*string{"attention.mail_to": &a.MailTo, "attention.mail_from": &a.MailFrom} {
		if *text == "" || d.failed[at] {
			continue
		}
		box, err := address.Parse(*text)
		if err != nil {
			d.at(at, "write postmaster@ and a domain of yours", "%q is no mail address", clip(*text))
			continue
		}
		*text = box.String()
	}
}
