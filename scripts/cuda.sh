#!/usr/bin/env bash
# What only CUDA builds have: llm-svc's engines and memory-svc's candle with the feature `cuda`. No GPU is needed to build them.
# A machine without the CUDA toolkit gets what is needed of it from PyPI's packages, 0.7 GB, once.
#
#   scripts/cuda.sh check          clippy over the workspace with CUDA, without the kernels' text: minutes
#   scripts/cuda.sh build [ARGS]   cargo build of llm-svc with CUDA, and with `-p memory-svc` of that, too: the kernels take
#                                  an hour on two cores
#
# With a GPU:
#
#   scripts/cuda.sh test           llm-svc's engines and memory-svc's on it against the processor, and llm-svc's tests with
#                                  real weights there
#   scripts/cuda.sh bench          tokens per second of a model of Llama 3 8B's size
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/solo"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-90}"
export CMAKE_CUDA_ARCHITECTURES="${CMAKE_CUDA_ARCHITECTURES:-$CUDA_COMPUTE_CAP}"

packages=(
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96
    nvidia-cuda-cccl==13.0.85 nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35 nvidia-cuda-nvrtc==13.0.88
)

# Puts the packages together as nvcc and CMake look for them.
toolkit() {
    local home="$cache/cuda-13.0"
    if [ ! -e "$home/complete" ]; then
        local work
        mkdir -p "$cache"
        work=$(mktemp -d "$cache/cuda.XXXXXX")
        trap 'rm -rf "$work"' EXIT
        echo "fetching nvcc and its libraries (0.7 GB)" >&2
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$work/wheels" "${packages[@]}"
        local wheel
        for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/all"; done
        mv "$work/all/nvidia/cu13" "$work/home"
        chmod +x "$work"/home/bin/* "$work"/home/nvvm/bin/*
        ln -s lib "$work/home/lib64"
        local library
        for library in "$work"/home/lib/*.so.*; do
            ln -sf "$(basename "$library")" "${library%%.so.*}.so"
        done
        # The driver's library comes with the driver: what is linked here finds its names in an empty one.
        mkdir "$work/home/lib/stubs"
        grep -oE '\bcu[A-Z][A-Za-z0-9_]+' "$work/home/include/cuda.h" | sort -u | sed 's/.*/void &(void) {}/' |
            cc -shared -x c - -Wl,-soname,libcuda.so.1 -o "$work/home/lib/stubs/libcuda.so"
        # llama.cpp's build asks for static libraries, which no package has: these are empty, and what is called in them is
        # found in the shared ones.
        local static
        for static in cublas_static cublasLt_static culibos; do ar rc "$work/home/lib/stubs/lib$static.a"; done
        touch "$work/home/complete"
        rm -rf "$home"
        mv "$work/home" "$home"
    fi
    export CUDA_HOME="$home" CUDA_PATH="$home" CUDA_TOOLKIT_ROOT_DIR="$home" CUDACXX="$home/bin/nvcc"
    export CUDA_LIBRARY_PATH="$home"
    export PATH="$home/bin:$PATH" LIBRARY_PATH="$home/lib/stubs:$home/lib${LIBRARY_PATH:+:$LIBRARY_PATH}"
}

# An nvcc that compiles an empty file of the same name for each of the engines' kernels, and everything else as it is.
without_kernels() {
    local bin="$cache/nvcc-without-kernels"
    mkdir -p "$bin/empty"
    cat >"$bin/nvcc" <<SHIM
#!/usr/bin/env bash
arguments=()
for argument; do
    case "\$argument" in
    */ggml-cuda/*.cu | src/*.cu)
        argument="$bin/empty/\${argument##*/}"
        [ -e "\$argument" ] || : >"\$argument"
        ;;
    esac
    arguments+=("\$argument")
done
exec "$(command -v nvcc)" "\${arguments[@]}"
SHIM
    chmod +x "$bin/nvcc"
    export CUDACXX="$bin/nvcc" NVCC="$bin/nvcc"
}

package=(--locked -p llm-svc --features cuda)
# Another choice of features rebuilds the world, so it has a folder of its own.
folder_of_its_own() { export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/cuda"; }

command -v nvcc >/dev/null || toolkit
case "${1:-}" in
check)
    without_kernels
    exec cargo clippy --workspace --all-targets --locked --features llm-svc/cuda,memory-svc/cuda -- -D warnings
    ;;
build)
    shift
    folder_of_its_own
    exec cargo build "${package[@]}" "$@"
    ;;
test)
    folder_of_its_own
    tests=(cargo test "${package[@]}" --test it -- --ignored --test-threads=1)
    "${tests[@]}" gpu_
    # Three are for the processor: a GPU is done before it can be cancelled, a prompt takes it hardly longer than a token, and
    # the engines round so differently there that they part at more than near ties.
    SOLO_TEST_DEVICE=cuda:0 "${tests[@]}" model_ --skip cancelling_during_prefill --skip second_turn_starts_sooner \
        --skip agree_on_the_first_sixteen
    cargo test --locked -p memory-svc --features cuda --test it -- --ignored --test-threads=1 gpu_
    ;;
bench)
    folder_of_its_own
    examples="$CARGO_TARGET_DIR/release/examples"
    cargo build "${package[@]}" --release --example engine_speed --example random_gguf
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    "$examples/random_gguf" "${SOLO_MODELS_DIR:-$cache/models}/smollm2-135m/model.gguf" "$folder/model.gguf"
    "$examples/engine_speed" "$folder/model.gguf" "$(nproc)" 5 cuda:0
    ;;
*) sed -n '2,14s/^# \{0,1\}//p' "$0" ;;
esac
