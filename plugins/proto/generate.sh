#!/bin/sh
# Makes what is generated from store.proto anew: the Go code, and the Python code of
# plugins/example-python. Needs protoc (Debian: protobuf-compiler), which has Python's generator
# in it; the two for Go are Go programs, pinned in test/tools/go.mod.
#   generate.sh [folder]   write below that folder instead of plugins
set -eu
cd "$(dirname "$0")"
out=${1:-..}
mkdir -p "$out/proto" "$out/example-python"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
tools=$(cd ../../test/tools && pwd)
(cd "$tools" && GOBIN="$bin" go install mvdan.cc/gofumpt google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc)
PATH="$bin:$PATH" protoc -I . \
	--go_out="$out/proto" --go_opt=paths=source_relative \
	--go-grpc_out="$out/proto" --go-grpc_opt=paths=source_relative \
	dipylon/store/v2/store.proto
"$bin/gofumpt" -w "$out"/proto/dipylon/store/v2/*.go
protoc -I dipylon/store/v2 --python_out="$out/example-python" store.proto
