// Package stores is the table of the stores behind the gateway: which domain and which login name
// belongs to which of them, and what each can do.
//
//	source := stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.
//		In(stores.Plugin{Backend: plugin, Description: plugin.Description}, counters.Middleware)
//	table, err := stores.NewTable(source)
//	router := stores.NewRouter(table)
//	store := router.Table().StoreFor("sakes.example")
//	if store.Receiver == nil {
//		// no mail is taken in there: refuse for good
//	}
//	verdicts, err := store.Receiver.Resolve(ctx, query)
//
// A [Store] is a snapshot: what is configured and what its plugin has said of itself are replaced
// together, whenever another process of the plugin is ready. Nothing here waits for a plugin. What
// a plugin has said stays known when its process ends, so that an outage takes no capability away;
// a plugin that has never been ready may have every capability, and its calls are temporary failures.
//
// Wrappers around all calls to all stores are a [Middleware] each: [Counters.Middleware] and [Traced]. None of
// them sees the secret of a call in what the store says.
package stores
