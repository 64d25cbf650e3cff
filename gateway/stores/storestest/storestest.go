// Package storestest puts backends of a test's own process in a table of stores.
package storestest

import (
	"context"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
)

// In is a backend in the test's process. It has the capabilities that it implements, unless its
// description names some. It is asked for its description each time, so that a test can change it;
// one that gives an error is a store that has never described itself.
func In(backend backends.Store) stores.Plugin {
	return stores.Plugin{Backend: backend, Description: func() *backends.Description {
		said, err := backend.Describe(context.Background())
		if err != nil {
			return nil
		}
		if said.Capabilities == (backends.Capabilities{}) {
			said.Capabilities = backends.CapabilitiesOf(backend)
		}
		return &said
	}}
}

// Table is a table of sources that are right.
func Table(sources ...stores.Source) *stores.Table {
	table, err := stores.NewTable(sources...)
	if err != nil {
		panic(err)
	}
	return table
}
