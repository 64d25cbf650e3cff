package server

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/devices"
)

// TestDeviceConcerns: an administrator is told of devices that end and of those that fail, for a time.
func TestDeviceConcerns(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		device devices.Device
		want   []string
	}{
		"nothing":         {devices.Device{Name: "scanner"}, nil},
		"it ends":         {devices.Device{Name: "scanner", Place: "2nd floor", Expires: now.Add(time.Hour)}, []string{"the device scanner (2nd floor) ends"}},
		"it ended long":   {devices.Device{Name: "scanner", Expires: now.Add(-30 * 24 * time.Hour)}, nil},
		"it has failed":   {devices.Device{Name: "scanner", LastError: "550 x", ErrorAt: now.Add(-time.Hour)}, []string{"the device scanner has failed: 550 x"}},
		"it failed early": {devices.Device{Name: "scanner", LastError: "550 x", ErrorAt: now.Add(-48 * time.Hour)}, nil},
	} {
		var got []string
		for _, concern := range concernsOf(&c.device, now) {
			if got = append(got, concern.Text); concern.Kind != attention.Device || concern.Advice == "" {
				t.Errorf("%s: %+v", name, concern)
			}
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s: told %q", name, got)
		}
	}
}

// TestDeviceLabels: however many devices there are, metrics have a bounded number of lines.
func TestDeviceLabels(t *testing.T) {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.deviceCounter()
	for i := range 3 * deviceNamesMost {
		m.device("scanner"+strconv.Itoa(i), "taken")
		m.device("scanner0", "taken")
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	lines, others := 0, 0.0
	for _, family := range families {
		if family.GetName() != "dipylon_device_messages_total" {
			continue
		}
		for _, line := range family.GetMetric() {
			if lines++; line.GetLabel()[0].GetValue() == "(others)" {
				others = line.GetCounter().GetValue()
			}
		}
	}
	if lines != deviceNamesMost+1 || others != 2*deviceNamesMost {
		t.Errorf("%d lines, %v others", lines, others)
	}
}
