package rop

import "testing"

// TestCapabilities reads auxiliary buffers: one that a server was recorded with, and others.
func TestCapabilities(t *testing.T) {
	const header = "\x00\x00\x04\x00"
	for _, test := range []struct {
		name, auxiliary string
		want            uint32
	}{
		{"none", "", 0},
		{"of all but the server's capabilities", header + "\x1c\x00\x1c\x00" + "\x08\x00\x01\x17\x03\x00\x00\x00" +
			"\x0c\x00\x01\x0a\x0c\x00\x00\x00\x00\x84\x0c\x24" + "\x08\x00\x01\x48\x01\x00\x00\x00", 0},
		{"second", header + "\x10\x00\x10\x00" + "\x08\x00\x01\x17\x03\x00\x00\x00" + "\x08\x00\x01\x46\x03\x00\x00\x00", 3},
		{"of another version", header + "\x08\x00\x08\x00" + "\x08\x00\x02\x46\x03\x00\x00\x00", 0},
		{"cut short", header + "\x06\x00\x06\x00" + "\x06\x00\x01\x46\x03\x00", 0},
		{"whose size lies", header + "\x08\x00\x08\x00" + "\xff\x00\x01\x46\x03\x00\x00\x00", 0},
		{"without a size", header + "\x08\x00\x08\x00" + "\x00\x00\x01\x46\x03\x00\x00\x00", 0},
		{"that is none", "\x01\x02\x03", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Capabilities([]byte(test.auxiliary)); got != test.want {
				t.Errorf("%x, want %x", got, test.want)
			}
		})
	}
}

// FuzzCapabilities reads anything as an auxiliary buffer.
func FuzzCapabilities(f *testing.F) {
	f.Add([]byte("\x00\x00\x04\x00\x08\x00\x08\x00\x08\x00\x01\x46\x03\x00\x00\x00"))
	f.Fuzz(func(_ *testing.T, octets []byte) { Capabilities(octets) })
}
