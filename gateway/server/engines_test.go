package server

import (
	"testing"
	"time"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// TestEngineOfSMTP: what is configured for a protocol is what its engine does.
func TestEngineOfSMTP(t *testing.T) {
	g := &Server{}
	g.metrics = newMetrics(g)
	s := shape{
		protocol: config.ProtocolSMTP, hostname: "gate.example",
		smtp:       config.SMTP{EarlyTalkers: "reject", GreetDelay: config.Duration(3 * time.Second)},
		submission: config.Submission{HideClient: true},
	}
	mx := g.newEngine(s, false, nil).(*smtp.Server)
	if mx.AllowEarlyTalkers || mx.GreetDelay != 3*time.Second || mx.HideClient {
		t.Errorf("reject: %v, %v, %v", mx.AllowEarlyTalkers, mx.GreetDelay, mx.HideClient)
	}
	s.smtp.EarlyTalkers = "allow"
	if mx := g.newEngine(s, false, nil).(*smtp.Server); !mx.AllowEarlyTalkers {
		t.Error("early talkers are not allowed")
	}
	s.protocol = config.ProtocolSubmission
	if e := g.newEngine(s, false, nil).(*smtp.Server); !e.HideClient || e.Role != smtp.Submission {
		t.Errorf("submission: %v, %v", e.HideClient, e.Role)
	}
}
