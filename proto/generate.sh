#!/usr/bin/env bash
# Regenerates src/playhead/v1 (or DIR, the first argument) from the .proto files: messages, stubs and their types.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-src}
python=${PYTHON:-.venv/bin/python}
bin=$(dirname "$python")
common=$("$python" -c 'import pathlib, google.rpc; print(pathlib.Path(google.rpc.__path__[0]).parent.parent)')
mkdir -p "$out/playhead/v1"
PATH="$bin:$PATH" "$python" -m grpc_tools.protoc -Iproto -I"$common" \
  --python_out="$out" --grpc_python_out="$out" --mypy_out="$out" --mypy_grpc_out="$out" \
  proto/playhead/v1/*.proto
# Files without a service get empty stubs: leave them out.
for file in "$out"/playhead/v1/*_pb2_grpc.py; do
  if ! grep -q 'Servicer' "$file"; then rm -f "$file" "${file}i"; fi
done
"$python" -m grpc_tools.protoc -Iproto -I"$common" --include_imports \
  --descriptor_set_out="$out/playhead/v1/descriptors.binpb" proto/playhead/v1/*.proto
