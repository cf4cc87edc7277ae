#!/usr/bin/env bash
# Puts beside the binaries (docker/binaries.sh) what an image says about itself, FOLDER/stt-svc/share/doc/solo: the licences, those of
# the crates that the program is made of (they ask for that), and the list of them (CycloneDX), where cargo-cyclonedx is installed.
#
#   docker/notices.sh FOLDER [FEATURES]
#
# FEATURES: those of llm-svc, where they are not an image's usual ones.
set -euo pipefail
# The same order everywhere.
export LC_ALL=C

cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:?a folder is wanted}"
llm_features="${2:-dynamic-backends}"
# Those that there are binaries of.
services=("$folder"/*/bin)
services=("${services[@]%/bin}")
services=("${services[@]##*/}")

# Every crate with its licence, then every text once, under the names of those that bring it: also of what they have vendored, like
# llama.cpp and espeak-ng.
third_party() { # SERVICE
    local registry="${CARGO_HOME:-$HOME/.cargo}/registry/src" packages package folder folders=() sums names sum path crate
    packages=$(cargo tree --locked --package "$1" --features "$(features "$1")" --edges normal,no-proc-macro --prefix none \
        --format '{p}|{l}')
    # Without Solo's own, which have paths, and without the marks of those that were told before.
    packages=$(grep -v ' (/' <<<"$packages" | sed 's/ (\*)//' | sort -u)
    while read -r package; do
        # Cargo keeps them by the registry that they come from: mostly there is one.
        for folder in "$registry"/*/"$package"; do
            [ -d "$folder" ] || { echo "the sources of $package are not in $registry" >&2; return 1; }
            folders+=("$folder")
        done
    done < <(sed -E 's/^([^ ]+) v([^ |]+).*$/\1-\2/' <<<"$packages")
    sums=$(find "${folders[@]}" -maxdepth 6 -type f -size -300k \( -iname '*licen[cs]e*' -o -iname 'copying*' -o -iname 'copyright*' \
        -o -iname 'notice*' -o -iname 'third-party*' -o -ipath '*/licenses/*' \) ! -path '*/tests/*' ! -path '*/resources/*' \
        ! -name '*.rs' ! -name '*.toml' ! -name '*.py' ! -name '*.h' ! -name '*.c' ! -name '*.cmake' ! -name '*.rtf' -print0 |
        sort -z | xargs -0 -r sha256sum)
    local -A brought_by=() text=()
    while read -r sum path; do
        crate="${path#"$registry"/*/}"
        crate="${crate%%/*}"
        text[$sum]="${text[$sum]:-$path}"
        [[ " ${brought_by[$sum]:-} " == *" $crate "* ]] || brought_by[$sum]="${brought_by[$sum]:-} $crate"
    done <<<"$sums"

    echo "What $1 is made of besides Solo's own crates and Rust's standard library (MIT OR Apache-2.0):"
    echo
    sed -E 's/^([^ ]+) v([^|]+)\|(.*)$/\1 \2: \3/' <<<"$packages"
    # Debian's library, linked into it (crates/tts-svc/build.rs).
    [ "$1" != tts-svc ] || echo "sonic: Apache-2.0"
    # In the order of their names, so that the same crates give the same file.
    while IFS=$'\t' read -r names sum; do
        printf '\n──── %s\n\n' "$names"
        cat "${text[$sum]}"
    done < <(for sum in "${!text[@]}"; do printf '%s\t%s\n' "${brought_by[$sum]# }" "$sum"; done | sort)
}

features() { # SERVICE
    [ "$1" != llm-svc ] || echo "$llm_features"
}

for service in "${services[@]}"; do
    mkdir -p "$folder/$service/share/doc/solo"
    cp -p LICENSE-APACHE LICENSE-MIT "$folder/$service/share/doc/solo"
    third_party "$service" | gzip -n9 >"$folder/$service/share/doc/solo/third-party.txt.gz"
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
