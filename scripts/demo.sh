#!/usr/bin/env bash
# Shows on real proteins what works today. Installs what is missing on a fresh Debian or Ubuntu machine (root or sudo), builds, runs.
# Results are left in the folder given as first argument, or else in ./demo-out.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-demo-out}"
out=$(cd "${1:-demo-out}" && pwd)
rm -rf "$out/run" "$out/predictions" "$out/before" "$out/after" "$out/set"
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

step "a training set of a dozen real chains with their alignments (assets/demo)"
run data prepare assets/demo --out "$out/set"
run data inspect "$out/set" --fasta "$out/chains.fasta"

step "alignments and template hits of the xylanase 6KWC, in small real databases"
mkdir -p "$out/db"
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

step "a small network, with every module on, learns from ten of the chains; two of other clusters stay unseen"
cat > "$out/demo.toml" <<TOML
preset = "tiny"
data = { crop = 48, clusters = 16, extra_rows = 64, templates = 1, max_passes = 2, train = [{ set = "$out/set", split = "train" }], validation = [{ set = "$out/set", split = "validation" }] }
optimizer = { batch = 1, lr = 2e-3, warmup_samples = 40, decay_after_samples = 220, decay_factor = 0.25, ema_decay = 0.95 }
run = { samples = ${ANYFOLD_DEMO_STEPS:-300}, validate_every = 150, log_every = 1, checkpoint_every = 150 }
TOML
run train --out "$out/run" --config "$out/demo.toml" --seed 1 --json "$out/run.json"
run report "$out/run"

# Predicts all twelve chains with the parameters $1 into the folder $2.
predict_all() {
    run predict "$out/chains.fasta" --alignments assets/demo/msas --params "$1" --preset tiny --recycles 1 --max-msa 16:64 --no-plots --out "$2"
}
step "what it predicts for them before and after"
rm -f "$out/before.npz"
run params init --preset tiny "$out/before.npz"
predict_all "$out/before.npz" "$out/before"
predict_all "$(ls "$out"/run/checkpoints/step-*.ckpt | tail -1)" "$out/after"

# The figure $2 of the prediction of chain $1 in folder $3.
figure() {
    local entry=${1%_*}
    "$bin" evaluate "$out/$3/$1/ranked_0.pdb" assets/demo/structures/*/"$entry".cif.gz --chain "${1#*_}" --json "$out/figure.json" > "$out/figure.txt"
    sed -n "s/^ *\"$2\": *\([0-9.e-]*\),*$/\1/p" "$out/figure.json" | head -1
}
printf '\n%-8s %-10s %18s %22s\n' chain part 'lDDT-CA' 'RMSD-CA, A'
for id in $(sed -n 's/^>//p' "$out/chains.fasta"); do
    case $id in 1crn_A | 1ubq_A) part=unseen ;; *) part=trained ;; esac
    LC_ALL=C printf '%-8s %-10s %8.3f -> %6.3f %10.2f -> %8.2f\n' "$id" "$part" "$(figure "$id" lddt_ca before)" "$(figure "$id" lddt_ca after)" \
        "$(figure "$id" rmsd_ca before)" "$(figure "$id" rmsd_ca after)"
done | tee "$out/table.txt"
printf 'lDDT-CA below 0.30 means that nothing was learned of a fold.\n'

step "what it predicts for 6KWC from its alignment"
run predict assets/search/query.fasta --msa "$found/uniref90_hits.sto" --msa "$found/bfd_uniref_hits.a3m" \
    --params "$(ls "$out"/run/checkpoints/step-*.ckpt | tail -1)" --out "$out/predictions"

printf '\nAll of it is in %s\n' "$out"
