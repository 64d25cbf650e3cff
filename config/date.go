package config

import (
	"time"

	"gopkg.in/yaml.v3"
)

// Date is a day, or a moment of it. The zero value is none.
type Date struct{ time.Time }

func (v *Date) decodeNode(d *decoder, path string, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!timestamp" && n.ShortTag() != "!!str" {
		d.misfit(path, n, "a date")
		return
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, n.Value); err == nil {
			v.Time = t
			return
		}
	}
	d.fail(path, n, "write 2027-03-31", "%q is no date", clip(n.Value))
}

// MarshalYAML gives the form that the file has.
func (v Date) MarshalYAML() (any, error) {
	if v.Truncate(24 * time.Hour).Equal(v.Time) {
		return v.Format(time.DateOnly), nil
	}
	return v.Format(time.RFC3339), nil
}
