#!/usr/bin/env bash
# fuzz.sh [SECONDS [TARGET...]]: fuzzes every parser (or these) for so long each, 600 seconds when not said, with real files as seeds, and prints a
# table. Needs `cargo install cargo-fuzz` and a nightly compiler. Corpora stay in FUZZ_CORPUS (target/fuzz-corpus), findings in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
shift || true
corpus=${FUZZ_CORPUS:-target/fuzz-corpus}
shared=${ANYFOLD_SHARED:-../shared}/data
targets=("$@")
[ $# -gt 0 ] || targets=(a3m fasta gzip hhr hmmsearch mmcif npz pdb psicov set_entry stockholm stockholm_text)

# The longest input: times the bytes that a target allows for each byte of input (fuzz_targets/), within the limit of 1 GiB. A seed is cut to it.
longest() {
    case $1 in
    gzip) echo 65536 ;;
    npz) echo 32768 ;;
    set_entry) echo 262144 ;;
    mmcif | pdb) echo 131072 ;;
    *) echo 49152 ;;
    esac
}

# Files whose names fit, the smallest 60, unpacked.
seed() {
    local target=$1 found
    shift
    found=(assets)
    [ -d "$shared" ] && found+=("$shared")
    mkdir -p "$corpus/$target"
    find -L "${found[@]}" -type f -size -400k \( -false "$@" \) -printf '%s %p\n' | sort -n | head -60 | cut -d' ' -f2- | while read -r file; do
        local to=$corpus/$target/${file//[\/ ]/_}
        if [ "$target" = gzip ]; then cp "$file" "$to"; else gzip -cdf "$file" >"$to"; fi
        chmod u+w "$to"
    done
}

seeds() {
    [ -z "$(ls -A "$corpus/$1" 2>/dev/null)" ] || return 0
    case $1 in
    a3m) seed a3m -o -name '*.a3m*' ;;
    fasta) seed fasta -o -name '*.fasta*' ;;
    gzip) seed gzip -o -name '*.gz' ;;
    hhr) seed hhr -o -name '*.hhr*' ;;
    hmmsearch) seed hmmsearch -o -name '*hmm*.sto*' ;;
    mmcif) seed mmcif -o -name '*.cif*' ;;
    npz) seed npz -o -name '*.npz' ;;
    pdb) seed pdb -o -name '*.pdb*' -o -name '*.ent*' ;;
    psicov) seed psicov -o -name '*.aln*' ;;
    stockholm | stockholm_text) seed "$1" -o -name '*.st[oh]*' ;;
    set_entry)
        # The shard of a set of one chain is that chain's entry.
        mkdir -p "$corpus/set_entry"
        local from
        for from in assets/goldens/data/files/*.gz; do
            local made
            made=$(mktemp -d)
            mkdir "$made/in"
            cp "$from" "$made/in"
            cargo run -q --bin anyfold -- data prepare "$made/in" --out "$made/set" >/dev/null || true
            cp "$made"/set/part-00000.bin "$corpus/set_entry/$(basename "$from").bin"
            rm -r "$made"
        done
        ;;
    esac
}

printf '| target | executions | coverage | peak RSS (MB) | CPU (s) | longest input | outcome |\n| --- | --- | --- | --- | --- | --- | --- |\n'
status=0
for target in "${targets[@]}"; do
    seeds "$target"
    nice -n 5 cargo +nightly fuzz build ${FUZZ_TARGET_DIR:+--target-dir "$FUZZ_TARGET_DIR"} "$target" 2>/dev/null
    log=$corpus/$target.log
    outcome="nothing found"
    TIMEFORMAT=%U
    cpu=$({ time nice -n 15 cargo +nightly fuzz run ${FUZZ_TARGET_DIR:+--target-dir "$FUZZ_TARGET_DIR"} "$target" "$corpus/$target" -- -max_total_time="$seconds" \
        -rss_limit_mb=1024 -timeout=20 -max_len="$(longest "$target")" -print_final_stats=1 >"$log" 2>&1 || echo failed >"$log.failed"; } 2>&1)
    if [ -e "$log.failed" ]; then
        rm "$log.failed"
        outcome="FOUND, see $log"
        status=1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    rss=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log" | tail -1)
    cover=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -1)
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$target" "$runs" "$cover" "$rss" "$cpu" "$(longest "$target")" "$outcome"
done
exit $status
