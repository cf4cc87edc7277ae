#!/usr/bin/env bash
# What Solo is made of: licences, where crates come from, which may not be used or only in one room (deny.toml), and known
# vulnerabilities (RustSec), where their database can be had: it is fetched, or was, into $CARGO_HOME/advisory-dbs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v cargo-deny >/dev/null; then
    echo "supply chain: skipped, cargo-deny is not installed (cargo install --locked cargo-deny)"
    exit 0
fi
deny() { cargo deny --locked --all-features "$@"; }

deny check --hide-inclusion-graph licenses bans sources
# A failed attempt leaves the folder and no database in it; one that is a month old says too little.
databases="${CARGO_HOME:-$HOME/.cargo}/advisory-dbs"
if deny fetch db >/dev/null 2>&1; then
    deny check --hide-inclusion-graph advisories
elif [ -n "$(find "$databases" -mindepth 3 -maxdepth 3 -name FETCH_HEAD -path '*/.git/*' -mtime -30 2>/dev/null)" ]; then
    deny --offline check --hide-inclusion-graph advisories
else
    echo "advisories: skipped, their database cannot be fetched from here, and was not in the last thirty days"
fi
