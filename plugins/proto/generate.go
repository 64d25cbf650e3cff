// Package proto holds the wire of the plugin boundary: dipylon/store/v2/store.proto and the
// Go code generated from it. The Python code goes to plugins/example-python.
package proto

//go:generate ./generate.sh
