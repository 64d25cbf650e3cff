// Command memory is a plugin that serves the store in memory, for tests of what the built-in
// stores cannot do: tokens, certificates, and SASL exchanges of the store's own.
package main

import (
	"github.com/dipylon/dipylon/backends/storetest/memstore"
	"github.com/dipylon/dipylon/plugins/serve"
)

func main() { serve.Store(memstore.New()) }
