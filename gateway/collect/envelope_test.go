//go:build linux

package collect

import (
	"strings"
	"testing"
	"time"
)

var usual = []string{"Envelope-To", "X-Envelope-To", "Delivered-To", "X-Original-To", "Received"}

func ownDomain(domain string) bool { return domain == "sakes.example" }

func TestEnvelope(t *testing.T) {
	for name, test := range map[string]struct {
		header  string
		headers []string
		to, by  string
	}{
		"nothing":                          {header: "Subject: x\n\nEnvelope-To: anna@sakes.example\n"},
		"neither To nor Cc":                {header: "To: anna@sakes.example\nCc: anna@sakes.example\n"},
		"unless they are asked for":        {header: "To: Anna <Anna@Sakes.example>, x@far.example\n", headers: []string{"To"}, to: "Anna@sakes.example", by: "To"},
		"the order counts, not the place":  {header: "Delivered-To: bert@sakes.example\nENVELOPE-TO: anna@sakes.example\n", to: "anna@sakes.example", by: "Envelope-To"},
		"a field that names nobody here":   {header: "Envelope-To: box@far.example\nDelivered-To: anna@sakes.example\n", to: "anna@sakes.example", by: "Delivered-To"},
		"the topmost one":                  {header: "Delivered-To: box@far.example\nDelivered-To: anna@sakes.example\nDelivered-To: bert@sakes.example\n", to: "anna@sakes.example", by: "Delivered-To"},
		"several in one":                   {header: "X-Envelope-To: <anna@sakes.example>,\n\tbert@sakes.example, anna@sakes.example\n", to: "anna@sakes.example bert@sakes.example", by: "X-Envelope-To"},
		"Received":                         {header: "Received: from for.example (for [1.2.3.4])\n\tby x with ESMTP id 1\n\t(for bert@sakes.example) for <anna@sakes.example>; Mon, 30 Nov 2026\n", to: "anna@sakes.example", by: "Received"},
		"Received without brackets":        {header: "Received: by x FOR anna@sakes.example; Mon\n", to: "anna@sakes.example", by: "Received"},
		"a comment that hides a for":       {header: "Received: by x (a \\( for (y) ) ; for bert@sakes.example;\n", to: "bert@sakes.example", by: "Received"},
		"no addresses":                     {header: "Envelope-To: anna\nDelivered-To: @sakes.example\nX-Original-To: \x00\n"},
		"a header that is none":            {header: "Envelope-To anna@sakes.example\n: x\nDelivered-To: anna@sakes.example\n", to: "anna@sakes.example", by: "Delivered-To"},
		"a line that goes on with nothing": {header: " Envelope-To: anna@sakes.example\n"},
	} {
		t.Run(name, func(t *testing.T) {
			headers := test.headers
			if headers == nil {
				headers = usual
			}
			e := readEnvelope([]byte(strings.ReplaceAll(test.header, "\n", "\r\n")), headers, "", ownDomain)
			if got := strings.Join(e.to, " "); got != test.to || e.by != test.by {
				t.Errorf("%q by %q", got, e.by)
			}
		})
	}
}

func TestReversePath(t *testing.T) {
	for text, want := range map[string]string{
		"<a@far.example>": "a@far.example", "a@far.example": "a@far.example", "<>": "", "": "", "<a@far.example> x": "", "<MAILER-DAEMON>": "", "<a@far.example": "",
	} {
		if got := readEnvelope([]byte("Return-Path: "+text+"\r\nReturn-Path: <other@far.example>\r\n"), nil, "", ownDomain).from; got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// FuzzEnvelope: whatever a header has, it names none but mailboxes of here.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("Return-Path: <a@b>\r\nReceived: by x (c) for <anna@sakes.example>; d\r\nEnvelope-To: \"a b\"@sakes.example, x: y;\r\nTo: =?utf-8?q?a?= <anna@sakes.example>\r\n\r\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		for _, headers := range [][]string{usual, {"To", "Received"}} {
			e := readEnvelope(header, headers, "x", ownDomain)
			for _, to := range e.to {
				if !strings.HasSuffix(to, "@sakes.example") || strings.ContainsAny(to, "\r\n\x00") {
					t.Errorf("%q", to)
				}
			}
			if strings.ContainsAny(e.from, "\r\n\x00") || len(e.to) > 0 == (e.by == "") {
				t.Errorf("%+v", e)
			}
		}
	})
}

// TestSchedule: cron counts in its time zone, also where clocks are set, and what was missed is not made up for.
func TestSchedule(t *testing.T) {
	athens, err := time.LoadLocation("Europe/Athens")
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		when, err := time.ParseInLocation("2006-01-02 15:04", text, athens)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, test := range []struct {
		cron, after, want string
	}{
		{"*/10 7-19 * * 1-5", "2026-11-30 07:05", "2026-11-30 07:10"},
		{"*/10 7-19 * * 1-5", "2026-11-27 19:55", "2026-11-30 07:00"}, // Friday
		{"30 3 * * *", "2026-03-28 12:00", "2026-03-30 03:30"},        // there is none on the 29th
		{"0 5 * * *", "2026-10-25 02:00", "2026-10-25 05:00"},
		{"@daily", "2026-11-30 07:05", "2026-12-01 00:00"},
	} {
		got := Schedule{Cron: test.cron, Zone: athens}.Next(at(test.after), at(test.after).Add(time.Hour))
		if got.In(athens).Format("2006-01-02 15:04") != test.want {
			t.Errorf("%s after %s: %s", test.cron, test.after, got.In(athens))
		}
	}
	now := at("2026-11-30 07:00")
	every := Schedule{Every: time.Minute}
	for after, want := range map[time.Time]time.Time{{}: now, now.Add(-time.Second): now.Add(59 * time.Second), now.Add(time.Hour): now.Add(time.Minute)} {
		if got := every.Next(after, now); !got.Equal(want) {
			t.Errorf("after %s: %s", after, got)
		}
	}
}
