package server

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/devices"
)

// deviceCounter makes the counter of devices' messages.
func (m *metrics) deviceCounter() {
	m.devices = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "dipylon", Name: "device_messages_total",
		Help: "Messages of devices, by what came of them: taken, deferred or refused, or failed after they were taken, for a recipient. Beyond 200 devices by the name (others).",
	}, []string{"device", "outcome"})
	m.registry.MustRegister(m.devices)
}

// deviceNamesMost is how many devices are counted by name: each costs every scrape some lines.
const deviceNamesMost = 200

// device counts a device's message.
func (m *metrics) device(name, outcome string) {
	m.deviceMu.Lock()
	if m.deviceNames == nil {
		m.deviceNames = make(map[string]bool)
	}
	if !m.deviceNames[name] {
		if len(m.deviceNames) < deviceNamesMost {
			m.deviceNames[name] = true
		} else {
			name = "(others)"
		}
	}
	m.deviceMu.Unlock()
	m.devices.WithLabelValues(name, outcome).Inc()
}

// deviceFailed counts and notes that a device's message was refused after it was taken.
func (g *Server) deviceFailed(name, what string) {
	g.metrics.device(name, "failed")
	g.devices.Note(name, devices.Use{Failed: what})
}

// failedLately is for how long a device is told of whose mail, or whose login, was refused.
const failedLately = 24 * time.Hour

// deviceConcerns are devices that end, and those that have failed lately. One that is off needs nothing.
func (g *Server) deviceConcerns(ctx context.Context) (all []attention.Concern, err error) {
	kept, err := g.devices.List(ctx)
	for _, d := range kept {
		if !d.Disabled {
			all = append(all, concernsOf(d, time.Now())...)
		}
	}
	return all, err
}

func concernsOf(d *devices.Device, now time.Time) (all []attention.Concern) {
	called := "the device " + d.Name
	if d.Place != "" {
		called += " (" + d.Place + ")"
	}
	if end := d.End(); end.After(now.Add(-endedLately)) {
		all = append(all, attention.Concern{
			Key: "device:" + d.Name, Kind: attention.Device, Until: end, Most: attention.Warning, Text: called + " ends",
			Advice: "dipylon device set " + d.Name + " --expires gives it another end (or --certificate-ca another authority); dipylon device remove " + d.Name + " removes it",
		})
	}
	if d.ErrorAt.After(now.Add(-failedLately)) {
		all = append(all, attention.Concern{
			Key: "device:" + d.Name + " failed", Kind: attention.Device, Severity: attention.Notice, Since: d.ErrorAt,
			Text: fmt.Sprintf("%s has failed: %s", called, d.LastError), Advice: "dipylon device show " + d.Name + " says what it may do",
		})
	}
	return all
}
