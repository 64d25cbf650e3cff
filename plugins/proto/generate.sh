#!/bin/sh
# Makes the Go code of store.proto anew. Needs protoc (Debian: protobuf-compiler); the two
# generators are Go programs, pinned in test/tools/go.mod.
#   generate.sh [folder]   write below that folder instead of this one
set -eu
cd "$(dirname "$0")"
out=${1:-.}
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
tools=$(cd ../../test/tools && pwd)
(cd "$tools" && GOBIN="$bin" go install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc)
PATH="$bin:$PATH" protoc -I . \
	--go_out="$out" --go_opt=paths=source_relative \
	--go-grpc_out="$out" --go-grpc_opt=paths=source_relative \
	dipylon/store/v1/store.proto
