package notice

import (
	"cmp"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// words are what people read, in one language. Short sentences: whoever reads them did not ask for them.
type words struct {
	sender    string
	subjects  map[backends.Action]string
	greetings map[backends.Action]string
	said      string            // with the server's name and its reply
	until     string            // with a date
	closing   string            // with the gateway's name
	reasons   map[string]string // by subject and detail of the status code (RFC 3463)
	otherwise map[backends.Action]string
	device    deviceWords
}

// deviceWords are for the owner of a machine, who has not sent the message.
type deviceWords struct {
	subjects  map[backends.Action]string // with the device's name
	greetings map[backends.Action]string // with the device's name and its place
	closing   string                     // with the device's name
	advices   map[string]string          // what to do, by subject and detail of the status code, or by the subject alone
	otherwise string
}

// advice is what the owner can do about a failure.
func (w *deviceWords) advice(o Outcome) string {
	_, rest, _ := strings.Cut(statusOf(o), ".")
	subject, _, _ := strings.Cut(rest, ".")
	return cmp.Or(w.advices[rest], w.advices[subject], w.otherwise)
}

var english = &words{
	sender: "Mail Delivery",
	subjects: map[backends.Action]string{
		backends.ActionFailed: "Your message was not delivered", backends.ActionDelayed: "Your message is delayed",
		backends.ActionDelivered: "Your message was delivered", backends.ActionRelayed: "Your message was passed on",
		backends.ActionExpanded: "Your message was delivered to a list",
	},
	greetings: map[backends.Action]string{
		backends.ActionFailed:    "Your message was not delivered to everybody. It will not be tried again.",
		backends.ActionDelayed:   "Your message has not been delivered to everybody yet. It is tried again; you need not do anything.",
		backends.ActionDelivered: "Your message was delivered. You have asked to be told.",
		backends.ActionRelayed:   "Your message was passed on to a server that does not tell what becomes of it.",
		backends.ActionExpanded:  "Your message was delivered to a list, which sends it to its members.",
	},
	said: "The server %s said: %s", until: "It is tried until %s.",
	closing: "This is an automatic message of %s. Please do not answer it.",
	reasons: map[string]string{
		"1.1": "There is no such address.", "1.2": "There is no such domain.", "1.3": "The address is not written correctly.",
		"1.6": "The mailbox has moved, and its new address is not known.", "1.10": "The domain does not take mail.",
		"2.1": "The mailbox is not in use.", "2.2": "The mailbox is full.", "2.3": "The message is too large for the mailbox.",
		"3.4": "The message is too large.", "4.1": "The server does not answer.", "4.3": "The domain's servers could not be found out.",
		"4.4": "The domain has no server that takes mail.", "4.6": "The message goes round in a circle.", "4.7": "It was tried for too long.",
		"7.1": "The recipient's server does not accept it.", "7.10": "The connection could not be made safe enough.",
		"7.30": "The connection could not be made as safe as you have asked for.",
	},
	otherwise: map[backends.Action]string{
		backends.ActionFailed: "It was not accepted.", backends.ActionDelayed: "It is not accepted at the moment.",
		backends.ActionDelivered: "It was delivered.", backends.ActionRelayed: "It was passed on.",
		backends.ActionExpanded: "It was delivered to a list.",
	},
	device: deviceWords{
		subjects: map[backends.Action]string{
			backends.ActionFailed: "Mail of the device %s was not delivered", backends.ActionDelayed: "Mail of the device %s is delayed",
		},
		greetings: map[backends.Action]string{
			backends.ActionFailed:  "A message that the device %s has sent was not delivered to everybody. It will not be tried again.",
			backends.ActionDelayed: "A message that the device %s has sent has not been delivered to everybody yet. It is tried again; you need not do anything.",
		},
		closing: "You get this because you are the owner of the device. What went wrong last, \"dipylon device show %s\" says.",
		advices: map[string]string{
			"1": "What to do: correct the recipient's address in the address book of the device.",
			"2": "What to do: ask the recipient, whose mailbox does not take mail.", "2.3": "What to do: send smaller messages, with fewer pages or in a lower resolution.",
			"3.4": "What to do: send smaller messages, with fewer pages or in a lower resolution.",
			"4":   "What to do: look whether the recipient's address is right; if it is, ask those who run the server there.",
			"6":   "What to do: look for another format in the settings of the device, such as PDF.",
			"7":   "What to do: look whether the sender that the device has may send there, and show the answer of the server to those who run it.",
		},
		otherwise: "What to do: show the answer of the server to those who run this gateway.",
	},
}

var german = &words{
	sender: "Mail-Zustellung",
	subjects: map[backends.Action]string{
		backends.ActionFailed: "Ihre Nachricht wurde nicht zugestellt", backends.ActionDelayed: "Ihre Nachricht verzögert sich",
		backends.ActionDelivered: "Ihre Nachricht wurde zugestellt", backends.ActionRelayed: "Ihre Nachricht wurde weitergegeben",
		backends.ActionExpanded: "Ihre Nachricht wurde einer Liste zugestellt",
	},
	greetings: map[backends.Action]string{
		backends.ActionFailed:    "Ihre Nachricht wurde nicht allen zugestellt. Es wird nicht noch einmal versucht.",
		backends.ActionDelayed:   "Ihre Nachricht wurde noch nicht allen zugestellt. Es wird weiter versucht; Sie müssen nichts tun.",
		backends.ActionDelivered: "Ihre Nachricht wurde zugestellt. Sie wollten das wissen.",
		backends.ActionRelayed:   "Ihre Nachricht wurde einem Server gegeben, der nicht mitteilt, was aus ihr wird.",
		backends.ActionExpanded:  "Ihre Nachricht wurde einer Liste zugestellt, die sie an ihre Mitglieder schickt.",
	},
	said: "Der Server %s sagte: %s", until: "Es wird versucht bis %s.",
	closing: "Dies ist eine automatische Nachricht von %s. Bitte antworten Sie nicht darauf.",
	reasons: map[string]string{
		"1.1": "Diese Adresse gibt es nicht.", "1.2": "Diese Domain gibt es nicht.", "1.3": "Die Adresse ist nicht richtig geschrieben.",
		"1.6": "Das Postfach ist umgezogen, und seine neue Adresse ist nicht bekannt.", "1.10": "Die Domain nimmt keine Mail an.",
		"2.1": "Das Postfach ist nicht in Betrieb.", "2.2": "Das Postfach ist voll.", "2.3": "Die Nachricht ist zu groß für das Postfach.",
		"3.4": "Die Nachricht ist zu groß.", "4.1": "Der Server antwortet nicht.", "4.3": "Die Server der Domain ließen sich nicht herausfinden.",
		"4.4": "Die Domain hat keinen Server, der Mail annimmt.", "4.6": "Die Nachricht läuft im Kreis.", "4.7": "Es wurde zu lange versucht.",
		"7.1": "Der Server des Empfängers nimmt sie nicht an.", "7.10": "Die Verbindung ließ sich nicht sicher genug machen.",
		"7.30": "Die Verbindung ließ sich nicht so sicher machen, wie Sie es verlangt haben.",
	},
	otherwise: map[backends.Action]string{
		backends.ActionFailed: "Sie wurde nicht angenommen.", backends.ActionDelayed: "Sie wird zur Zeit nicht angenommen.",
		backends.ActionDelivered: "Sie wurde zugestellt.", backends.ActionRelayed: "Sie wurde weitergegeben.",
		backends.ActionExpanded: "Sie wurde einer Liste zugestellt.",
	},
	device: deviceWords{
		subjects: map[backends.Action]string{
			backends.ActionFailed: "Mail des Geräts %s wurde nicht zugestellt", backends.ActionDelayed: "Mail des Geräts %s verzögert sich",
		},
		greetings: map[backends.Action]string{
			backends.ActionFailed:  "Eine Nachricht, die das Gerät %s gesendet hat, wurde nicht allen zugestellt. Es wird nicht noch einmal versucht.",
			backends.ActionDelayed: "Eine Nachricht, die das Gerät %s gesendet hat, wurde noch nicht allen zugestellt. Es wird weiter versucht; Sie müssen nichts tun.",
		},
		closing: "Sie bekommen das, weil Sie für das Gerät zuständig sind. Was zuletzt schiefging, sagt \"dipylon device show %s\".",
		advices: map[string]string{
			"1": "Was zu tun ist: die Adresse des Empfängers im Adressbuch des Geräts berichtigen.",
			"2": "Was zu tun ist: den Empfänger fragen, dessen Postfach keine Mail annimmt.", "2.3": "Was zu tun ist: kleinere Nachrichten senden, mit weniger Seiten oder geringerer Auflösung.",
			"3.4": "Was zu tun ist: kleinere Nachrichten senden, mit weniger Seiten oder geringerer Auflösung.",
			"4":   "Was zu tun ist: prüfen, ob die Adresse des Empfängers stimmt; wenn ja, dort die Betreiber des Servers fragen.",
			"6":   "Was zu tun ist: in den Einstellungen des Geräts ein anderes Format suchen, etwa PDF.",
			"7":   "Was zu tun ist: prüfen, ob der Absender, den das Gerät hat, dorthin senden darf, und die Antwort des Servers dessen Betreibern zeigen.",
		},
		otherwise: "Was zu tun ist: die Antwort des Servers den Betreibern dieses Gateways zeigen.",
	},
}

var languages = map[string]*words{"en": english, "de": german}

func wordsIn(language string) *words {
	if w := languages[language]; w != nil {
		return w
	}
	return english
}

// reason says in words why it is so, with the status code for whoever is asked for help.
func (w *words) reason(o Outcome) string {
	code := statusOf(o)
	text := w.otherwise[o.Action]
	if _, rest, found := strings.Cut(code, "."); found && code[0] != '2' && w.reasons[rest] != "" {
		text = w.reasons[rest]
	}
	if code[0] == '2' {
		return text
	}
	return text + " (" + code + ")"
}
