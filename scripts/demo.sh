#!/usr/bin/env bash
# Shows on real proteins what works today. Installs what is missing on a fresh Debian or Ubuntu machine (root or sudo), builds, runs.
# Results are left in the folder given as first argument, or else in ./demo-out.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-demo-out}"
out=$(cd "${1:-demo-out}" && pwd)
rm -rf "$out/run" "$out/predictions"
cd "$here"
. scripts/setup.sh
install $(build_packages) $(vulkan_packages) $(search_packages)
rust_toolchain
cargo build --release --locked
bin=${CARGO_TARGET_DIR:-target}/release/anyfold

step() { printf '\n== %s\n' "$1"; }
run() {
    printf '$ anyfold %s\n' "$*"
    "$bin" "$@"
}

step "a training set of real structures (PDB entries 1ENX, 2RBG, 3ZEE)"
mkdir -p "$out/structures" "$out/db"
cp assets/search/mmcif/1enx.cif.gz assets/goldens/data/files/2rbg.pdb.gz assets/goldens/data/files/3zee.cif.gz "$out/structures/"
run data prepare "$out/structures" --out "$out/set"
run data inspect "$out/set"

step "alignments and template hits of the xylanase 6KWC, in small real databases"
gzip -dc assets/search/sequences.fasta.gz > "$out/db/sequences.fasta"
cp assets/search/*.ffindex "$out/db/"
for part in a3m hhm cs219; do gzip -dc "assets/search/tm_$part.ffdata.gz" > "$out/db/tm_$part.ffdata"; done
printf "uniref90 = 'sequences.fasta'\nbfd = ['tm']\npdb70 = ['tm']\n" > "$out/db/db.toml"
run search assets/search/query.fasta --db "$out/db/db.toml" --out "$out/search"

step "its features, with the template that was found"
found=$out/search/6kwc_A
run data features --fasta assets/search/query.fasta --msa "$found/uniref90_hits.sto" --msa "$found/bfd_uniref_hits.a3m" \
    --hits "$found/pdb70_hits.hhr" --mmcif assets/search/mmcif --out "$out/6kwc_A.npz"

step "a prediction of 6KWC against its near twin 1ENX"
run evaluate assets/examples/6kwc_predicted.pdb.gz assets/search/mmcif/1enx.cif.gz --json "$out/6kwc_A.json" | sed '/^residue/,$d'

step "every operation and a whole network against AlphaFold's own results, forward and backward"
run verify
run verify assets/goldens/data

step "a tiny network learns from these structures (40 steps: enough to see every loss fall, not to fold)"
run train --out "$out/run" --preset tiny --data "$out/set" --set data.crop=48 --set data.templates=0 --set optimizer.batch=1 \
    --set optimizer.warmup_samples=20 --set run.samples=40 --set run.validate_every=0 --set run.log_every=1 --json "$out/run.json"
run report "$out/run"

step "what it predicts for 6KWC from its alignment"
run predict assets/search/query.fasta --msa "$found/uniref90_hits.sto" --msa "$found/bfd_uniref_hits.a3m" \
    --params "$out"/run/checkpoints/step-*.ckpt --out "$out/predictions"

printf '\nAll of it is in %s\n' "$out"
