#!/usr/bin/env bash
# Puts the binaries of all images into a folder, stripped, each in a folder of its own that is the context of its build
# (docker/service.Dockerfile): FOLDER/stt-svc/bin/stt-svc.
#
#   docker/binaries.sh FOLDER
#
# They run on any x86-64 machine with AVX2, and most use what a CPU has more: llm-svc loads llama.cpp's code for it from a library
# (llm-svc/lib/solo); candle, llm-svc's own kernels and ONNX Runtime choose by themselves; whisper.cpp is compiled into stt-svc, so there
# is a second one for AVX-512 (stt-svc.x86-64-v4), which the first becomes when it starts where that is. SOLO_IMAGE_PROFILE=dev
# takes the development build instead, quickly made, for machines like this one: what tests want.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:?a folder is wanted}"
target="${CARGO_TARGET_DIR:-target}"
services=(gateway wake-svc stt-svc tts-svc llm-svc memory-svc agent-svc solo)

take() { # FROM SUFFIX NAME…: those that are there already as they would be stay, and with them the layers of images
    local from="$1" suffix="$2" name
    shift 2
    for name; do
        mkdir -p "$folder/$name/bin" "$folder/$name/lib"
        place "$from/$name" "$folder/$name/bin/$name$suffix"
    done
}

place() { # FROM TO
    strip --strip-unneeded -o "$2.new" "$1"
    if cmp -s "$2.new" "$2"; then rm "$2.new"; else mv "$2.new" "$2"; fi
}

# llama.cpp, and its code for kinds of CPU; for the program that is not in an image, too. Each has something that matters over the one
# before: AVX2, its dot products of bytes, AVX-512, its dot products, BF16. Others gain little over these, but for sapphirerapids:
# older compilers (GCC 12) make it such that it dies of loading AMX's tiles.
take_libraries() { # LEVEL
    local build="$target/$1" libraries="$folder/llm-svc/lib/solo" from name
    local kinds="haswell alderlake skylakex cascadelake zen4"
    # Cargo names folders by what they were made from; it says which is this build's.
    from=$(sed -nE 's|.*"out_dir":"([^"]*/llama-cpp-sys-2-[^"]*)".*|\1|p' "$build.json" | tail -n1)
    rm -rf "$libraries" "$build/lib/solo"
    mkdir -p "$libraries" "$build/lib"
    for name in lib/libllama.so.0 lib/libggml.so.0 lib/libggml-base.so.0 $(printf 'backends/libggml-cpu-%s.so ' $kinds); do
        place "$from/$name" "$libraries/${name##*/}"
    done
    cp -r "$libraries" "$build/lib/solo"
}

# whisper.cpp and llama.cpp choose instructions when they are compiled: without this, those of the machine that compiles.
compile() { # LEVEL, then cargo's arguments
    local level="$1"
    shift
    GGML_NATIVE=OFF CFLAGS="${CFLAGS:-} -march=$level" CXXFLAGS="${CXXFLAGS:-} -march=$level" \
        RUSTFLAGS="-C target-cpu=$level" SOLO_SMALL=1 CARGO_TARGET_DIR="$target/$level" CARGO_PROFILE_RELEASE_LTO=off \
        cargo build --locked --release --config docker/small.toml "$@"
}

if [ "${SOLO_IMAGE_PROFILE:-release}" = dev ]; then
    # Another choice of targets would choose other features, and build the world again.
    cargo build --locked --workspace --all-targets
    rm -rf "$folder"/*/bin/*.x86-64-v4 "$folder"/*/lib
    take "$target/debug" "" "${services[@]}"
elif [ "$(uname -m)" = x86_64 ]; then
    mkdir -p "$target"
    compile x86-64-v3 --workspace --bins --features llm-svc/dynamic-backends \
        --message-format json-render-diagnostics >"$target/x86-64-v3.json"
    # A second llm-svc was made before there were libraries.
    rm -f "$folder/llm-svc/bin/"*.x86-64-v4 "$target/x86-64-v3/release/llm-svc.x86-64-v4"
    take "$target/x86-64-v3/release" "" "${services[@]}"
    take_libraries x86-64-v3
    compile x86-64-v4 --package stt-svc --bins
    take "$target/x86-64-v4/release" .x86-64-v4 stt-svc
    # Whoever runs it without a container (bench-compose) has the same.
    cp -u "$folder/stt-svc/bin/stt-svc.x86-64-v4" "$target/x86-64-v3/release/"
else
    CARGO_PROFILE_RELEASE_LTO=off cargo build --locked --release --workspace --bins
    take "$target/release" "" "${services[@]}"
fi
