#!/usr/bin/env bash
# Type-checks what only CUDA builds have: both engines with the feature `cuda`, kernels compiled by nvcc. No GPU is needed.
# A machine without the CUDA toolkit gets what is needed of it from PyPI's packages, 0.7 GB, once.
#
#   scripts/cuda.sh check    clippy over llm-svc with CUDA
#   scripts/cuda.sh env      the environment that it builds in, for a shell to read
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/solo"
target="${CARGO_TARGET_DIR:-$cache/target}"
# Another choice of features rebuilds the world, so it has a folder of its own.
export CARGO_TARGET_DIR="$target/cuda"
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
        # The driver's library comes with the driver. Nothing is linked here, but CMake wants to see it.
        mkdir "$work/home/lib/stubs"
        echo | cc -shared -x c - -o "$work/home/lib/stubs/libcuda.so"
        touch "$work/home/complete"
        rm -rf "$home"
        mv "$work/home" "$home"
    fi
    export CUDA_HOME="$home" CUDA_PATH="$home" CUDA_TOOLKIT_ROOT_DIR="$home" CUDACXX="$home/bin/nvcc"
    export PATH="$home/bin:$PATH" LIBRARY_PATH="$home/lib/stubs:$home/lib${LIBRARY_PATH:+:$LIBRARY_PATH}"
}

command -v nvcc >/dev/null || toolkit
case "${1:-check}" in
check) exec cargo clippy --locked -p llm-svc --all-targets --features cuda -- -D warnings ;;
env) env | grep -E '^(CUDA|CMAKE_CUDA|CARGO_TARGET_DIR|PATH=|LIBRARY_PATH)' ;;
*) sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//' ;;
esac
