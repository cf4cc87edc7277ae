# llm-svc with CUDA: docker build -f docker/service.gpu.Dockerfile -t solo/llm-svc-gpu:dev .
#
# Untested: where this was written there was neither an engine with GPUs nor a registry to pull NVIDIA's images from. The binary is
# the one that `cargo make test-cuda` tests. The kernels take an hour on two cores; CUDA_ARCHITECTURES names those of your GPU
# ("89" for Ada, "90" for Hopper) and makes it minutes.
ARG CUDA=13.0.1
ARG RUST_IMAGE=rust:1.95-slim-bookworm

FROM ${RUST_IMAGE} AS rust

FROM nvidia/cuda:${CUDA}-devel-ubuntu22.04 AS build
ARG CUDA_ARCHITECTURES="80;86;89;90"
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        ca-certificates clang cmake git libclang-dev libprotobuf-dev make pkg-config protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup PATH=/usr/local/cargo/bin:$PATH
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    CMAKE_CUDA_ARCHITECTURES="${CUDA_ARCHITECTURES}" CUDA_COMPUTE_CAP="${CUDA_ARCHITECTURES%%;*}" \
    CARGO_TARGET_DIR=/target CARGO_PROFILE_RELEASE_LTO=off \
    cargo build --locked --release --package llm-svc --features cuda \
    && install -D --strip /target/release/llm-svc /out/llm-svc/bin/llm-svc \
    && docker/notices.sh /out cuda

# Without the driver's library, which the toolkit brings along: `libcuda.so.1` is the host's.
FROM nvidia/cuda:${CUDA}-runtime-ubuntu22.04 AS runtime
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libgomp1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && echo 'solo:x:10001:10001:Solo:/data:/usr/sbin/nologin' >>/etc/passwd && echo 'solo:x:10001:' >>/etc/group \
    && install -d -o 10001 -g 10001 /data /models
COPY --from=build /out/llm-svc/bin /usr/local/bin
COPY --from=build /out/llm-svc/share /usr/local/share
RUN ln -s llm-svc /usr/local/bin/service
LABEL solo.service="llm-svc" \
    org.opencontainers.image.title="solo llm-svc" \
    org.opencontainers.image.description="llm-svc of Solo, a private voice assistant, with CUDA" \
    org.opencontainers.image.licenses="Apache-2.0 OR MIT"
ENV HOME=/data SOLO_GLOBAL__DATA_DIR=/data SOLO_GLOBAL__MODELS_DIR=/models
USER 10001:10001
WORKDIR /
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/service"]
# Each check costs a process in each container: a probe that finds all well stays for half a minute (solo-service's probe.rs).
HEALTHCHECK --interval=3s --timeout=40s --start-period=120s --retries=3 CMD ["/usr/local/bin/service", "probe", "--hold", "30"]
