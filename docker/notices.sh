#!/usr/bin/env bash
# Puts beside the binaries (docker/binaries.sh) what an image says about itself, FOLDER/stt-svc/share/doc/solo: the licences, and what
# the program is made of (CycloneDX), where cargo-cyclonedx is installed.
#
#   docker/notices.sh FOLDER
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:?a folder is wanted}"
# Those that there are binaries of.
services=("$folder"/*/bin)
services=("${services[@]%/bin}")
services=("${services[@]##*/}")

for service in "${services[@]}"; do
    mkdir -p "$folder/$service/share/doc/solo"
    cp -p LICENSE-APACHE LICENSE-MIT "$folder/$service/share/doc/solo"
    # Of another build.
    rm -f "$folder/$service/share/doc/solo/sbom.cdx.json"
done
if ! command -v cargo-cyclonedx >/dev/null; then
    echo "skipped: no list of what they are made of goes into the images (cargo install --locked cargo-cyclonedx)"
    exit 0
fi
# It writes one beside the manifest of each crate. Times and serial numbers would make a layer new that says the same.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
trap 'find crates tests benches -maxdepth 2 -name sbom.cdx.json -delete' EXIT
cargo cyclonedx -qq --format json --no-build-deps --spec-version 1.5 --override-filename sbom.cdx
for service in "${services[@]}"; do
    # Where it was built is nobody's business, and would make a layer new.
    sed "s|$PWD|/source|g" "crates/$service/sbom.cdx.json" >"$folder/$service/share/doc/solo/sbom.cdx.json"
done
