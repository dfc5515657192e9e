#!/usr/bin/env bash
# Installs what the tests need on a fresh Debian or Ubuntu machine (root or sudo), then runs them. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
install $(build_packages) $(vulkan_packages) $(search_packages) $(lacking TMscore tm-align) $(lacking spirv-val spirv-tools)
rust_toolchain
cargo test --locked "$@"
