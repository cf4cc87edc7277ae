#!/usr/bin/env bash
# Makes the base images from Debian's packages and this machine's Rust, under the names that docker/service.Dockerfile asks for:
# for people who can reach a mirror of Debian and no registry of images.
#
#   docker/local-base.sh           debian:bookworm-slim, if it is not there
#   docker/local-base.sh --rust    and the one that compiles, from the toolchain that `rustc` here is
#
# Root is wanted for debootstrap. DEBIAN_MIRROR names another mirror than the system's.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
suite=bookworm
base="debian:$suite-slim"
rust=$(sed -n 's/^ARG RUST_IMAGE=//p' docker/service.Dockerfile)

. docker/engine.sh

have() { docker image inspect "$1" >/dev/null 2>&1; }

need_engine

# The mirror that this machine's own packages come from, where they are Debian's.
mirror() {
    local found=""
    ! grep -qx 'ID=debian' /etc/os-release || found=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources 2>/dev/null | grep -v security | grep -m1 ^http || true)
    if [ -z "$found" ] && grep -qx 'ID=debian' /etc/os-release; then
        found=$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' /etc/apt/sources.list 2>/dev/null | head -n1)
    fi
    printf '%s' "${DEBIAN_MIRROR:-$found}"
}

if have "$base"; then
    echo "$base is there"
else
    [ "$(id -u)" -eq 0 ] || fail "debootstrap wants root" "sudo docker/local-base.sh"
    command -v debootstrap >/dev/null || fail "debootstrap is not installed" "apt-get install debootstrap"
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    echo "making $base from Debian's packages (half a minute)"
    from=$(mirror)
    debootstrap --variant=minbase "$suite" "$folder" ${from:+"$from"} >"$folder.log" 2>&1 || {
        tail -n 5 "$folder.log" >&2
        fail "debootstrap failed" "its log is in $folder.log; DEBIAN_MIRROR=URL names another mirror"
    }
    rm -rf "$folder.log" "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/* "$folder"/usr/share/doc/* "$folder"/usr/share/man/* "$folder"/usr/share/locale/*
    tar -C "$folder" -c . | docker import --change 'CMD ["bash"]' - "$base" >/dev/null
    rm -rf "$folder"
    echo "made $base ($(docker image inspect --format '{{.Size}}' "$base" | numfmt --to=si)B)"
fi

[ "${1:-}" = --rust ] || exit 0
if have "$rust"; then
    echo "$rust is there"
else
    command -v rustc >/dev/null || fail "there is no Rust here" "install it (https://rustup.rs)"
    sysroot=$(rustc --print sysroot)
    echo "making $rust of $base and $(rustc --version)"
    context=$(mktemp -d)
    trap 'rm -rf "$context"' EXIT
    cat >"$context/Dockerfile" <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates g++ >/dev/null \
    && rm -rf /var/lib/apt/lists/*
ENV CARGO_HOME=/usr/local/cargo
COPY certificates/ /etc/ssl/certs/
COPY bin /usr/local/bin
COPY lib /usr/local/lib
COPY libexec /usr/local/libexec
DOCKERFILE
    # Whom this machine trusts (a company's own authority between it and the registries), what compiles there trusts, too.
    mkdir "$context/certificates"
    cp -L /etc/ssl/certs/ca-certificates.crt "$context/certificates/" 2>/dev/null || true
    tar -c -C "$context" Dockerfile certificates -C "$sysroot" bin lib libexec | docker build --quiet --tag "$rust" - >/dev/null
    echo "made $rust"
fi
