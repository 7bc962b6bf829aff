#!/usr/bin/env bash
# Builds libggml-cuda.so, llama.cpp's CUDA backend, from the source bundle inside the installed node-llama-cpp, so that
# it can take the place of the prebuilt file. Refuses to mix versions and downloads nothing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
llama="$root/node_modules/node-llama-cpp/llama"
prebuilt="$root/node_modules/@node-llama-cpp/linux-x64-cuda/bins/linux-x64-cuda/libggml-cuda.so"

# Machine code for every listed GPU, and PTX of 100 for newer ones; CMake's "-real" means no PTX.
archs="75-real;80-real;86-real;89-real;90-real;100;120-real"
jobs=$(nproc)
work="$root/native/build/cuda"
out=""
install=false

usage() {
  cat <<TEXT
usage: native/cuda/build.sh [--archs LIST] [--jobs N] [--work DIR] [--out FILE] [--install] [-- CMAKE_OPTION...]
  --archs    CMake CUDA architectures, separated by ; (default: $archs)
  --jobs     compilers at once (default: the number of cores; each takes up to 2 GB)
  --work     where the source and the build go (default: native/build/cuda)
  --out      copy the finished library there
  --install  put it in place of the prebuilt library in node_modules
TEXT
}

fail() {
  echo "native/cuda: $*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case "$1" in
    --archs | --jobs | --work | --out)
      [ $# -ge 2 ] || fail "$1 needs a value"
      declare "${1#--}=$2"
      shift 2
      ;;
    --install) install=true; shift ;;
    --help) usage; exit 0 ;;
    --) shift; break ;;
    *) usage >&2; exit 2 ;;
  esac
done

for tool in git cmake g++ nvcc readelf; do
  command -v "$tool" >/dev/null || fail "$tool is not on PATH; install the CUDA toolkit (12.8 or newer), cmake, git, g++ and binutils"
done
[ -f "$llama/gitRelease.bundle" ] || fail "node-llama-cpp is not installed; run npm ci first"
[ -f "$prebuilt" ] || fail "the package @node-llama-cpp/linux-x64-cuda is not installed; run npm ci on x64 Linux"

tag=$(sed -n 's/.*"tag": *"\([^"]*\)".*/\1/p' "$llama/llama.cpp.info.json")
[ -f "$(dirname "$prebuilt")/libggml.cuda.$tag.so" ] ||
  fail "the installed CUDA package is not of llama.cpp $tag, the bundle is; run npm ci"

echo "native/cuda: llama.cpp $tag for $archs"
if [ "$(cat "$work/tag" 2>/dev/null)" != "$tag" ]; then
  rm -rf "$work"
  mkdir -p "$work"
  git -c advice.detachedHead=false clone --quiet "$llama/gitRelease.bundle" "$work/llama.cpp"
  echo "$tag" >"$work/tag"
fi

# As node-llama-cpp builds its own (unversioned library names, backends as plug-ins, $ORIGIN as run path), without host
# tuning. FlashAttention kernels are built for every pair of KV_TYPE_K and KV_TYPE_V; elsewhere mixed pairs fall back.
pairs="bf16-bf16"
for k in f16 q8_0 q4_0; do for v in f16 q8_0 q4_0; do pairs="$pairs;$k-$v"; done; done
cmake -S "$work/llama.cpp" -B "$work/out" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CUDA_ARCHITECTURES="$archs" -DGGML_CUDA=ON -DGGML_CUDA_FA_QUANTS="$pairs" -DGGML_CUDA_NCCL=OFF \
  -DGGML_BACKEND_DL=ON -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=OFF -DGGML_CPU=OFF -DGGML_OPENMP=OFF -DGGML_CCACHE=OFF \
  -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
  -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF \
  -DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH='$ORIGIN' "$@"
cmake --build "$work/out" --target ggml-cuda --parallel "$jobs"

built=$(find "$work/out" -name libggml-cuda.so -type f)
[ -n "$built" ] || fail "the build ended without libggml-cuda.so"
needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep '^libggml\|^libcu' | sort; }
# A toolkit of another major version gives libcudart.so.12: fine where that is what the host has, so only told.
[ "$(needed "$built")" = "$(needed "$prebuilt")" ] ||
  echo "native/cuda: note: it needs $(needed "$built" | tr '\n' ' ')while the prebuilt one needs $(needed "$prebuilt" | tr '\n' ' ')"

place() {
  cp "$built" "$1.new"
  mv "$1.new" "$1"
  echo "native/cuda: $1, $(stat -c %s "$1") bytes"
}
[ -z "$out" ] || place "$out"
if $install; then place "$prebuilt"; fi
echo "native/cuda: done: $built, $(stat -c %s "$built") bytes"
