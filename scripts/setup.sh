# Sourced by demo.sh and test.sh: installs what is missing on Debian and Ubuntu, as root or through sudo. Not for running by itself.

# The oldest compiler that builds this crate, from Cargo.toml's `rust-version`.
rust_needed() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install PACKAGE...: all together, or one by one where this release lacks some. A package that is really needed shows itself by what fails next.
install() {
    [ $# -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "note: not Debian or Ubuntu; install by your own means: $*" >&2
        return 0
    fi
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        echo "error: $* must be installed; run this as root, or install sudo" >&2
        exit 2
    fi
    echo "installing: $*"
    as_root apt-get update -qq </dev/null
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends)
    as_root "${apt[@]}" "$@" </dev/null >/dev/null && return 0
    local package
    for package in "$@"; do
        as_root "${apt[@]}" "$package" </dev/null >/dev/null || echo "note: $package could not be installed" >&2
    done
}

# lacking COMMAND PACKAGE...: prints the packages when the command is not there.
lacking() {
    local wanted=$1
    shift
    command -v "$wanted" >/dev/null || echo "$@"
}

# A Vulkan loader, and a software driver where no driver is installed at all.
vulkan_packages() {
    { /sbin/ldconfig -p 2>/dev/null || true; } | grep -q 'libvulkan\.so\.1' || echo libvulkan1
    { find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name "*.json" 2>/dev/null || true; } | grep -q . || echo mesa-vulkan-drivers
}

# The programs that `anyfold search` calls.
search_packages() {
    lacking jackhmmer hmmer
    lacking hhblits hhsuite hhsuite-data
    lacking kalign kalign
    lacking mmseqs mmseqs2
}

# What the feature `mpi` is built with and run by: any MPI that is there, or OpenMPI; and libclang, which reads its headers.
mpi_packages() {
    { command -v mpicc && command -v mpirun; } >/dev/null || echo libopenmpi-dev openmpi-bin
    find /usr/lib -name "libclang*.so*" 2>/dev/null | grep -q . || echo libclang-dev
}

build_packages() {
    lacking cc gcc libc6-dev
    command -v cargo >/dev/null || [ -x "$HOME/.cargo/bin/cargo" ] || lacking curl curl ca-certificates
}

# A Rust toolchain that is new enough.
rust_toolchain() {
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    local needed have=0
    needed=$(rust_needed)
    command -v cargo >/dev/null && have=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$needed" "$have" | sort -V | head -n 1)" = "$needed" ]; then
        return 0
    fi
    if command -v rustup >/dev/null; then
        echo "Rust $have is older than $needed: bringing the stable toolchain up to date"
        rustup toolchain install stable --profile minimal --component rustfmt --component clippy
        export RUSTUP_TOOLCHAIN=stable
        return 0
    fi
    echo "installing Rust through rustup"
    install $(lacking curl curl ca-certificates)
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --component rustfmt --component clippy --no-modify-path
    . "$HOME/.cargo/env"
}
