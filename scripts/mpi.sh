#!/usr/bin/env bash
# Training by several processes: builds with the feature `mpi`, then holds two and four processes against one that accumulates as many
# examples. Losses, norms and all parameters must have the same bits. Argument: steps (3). MPI that is missing is installed where it can be.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
steps=${1:-3}
install $(build_packages) $(vulkan_packages) $(mpi_packages)
if ! command -v mpicc >/dev/null || ! command -v mpirun >/dev/null; then
    echo "LEFT OUT: training under MPI; there is no mpicc and mpirun here"
    exit 0
fi
rust_toolchain
cargo build --locked --features mpi --bin anyfold
anyfold=$(cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/anyfold
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 passed=0

# check NAME COMMAND...: passed when the command succeeds.
check() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok: $name"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
    fi
}

# OpenMPI must be told that root and more processes than cores are meant; Vulkan's software driver complains where there is no such folder.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$work}

# arguments FOLDER BATCH OPTIONS...: sets `train` to the command of a small run with every part of the network, dropout and up to two passes.
train=()
arguments() {
    local out=$1 batch=$2
    shift 2
    train=("$anyfold" train --preset tiny --out "$out" --data "$work/set")
    local set
    for set in data.crop=16 data.clusters=4 data.extra_rows=4 data.templates=1 data.max_passes=2 model.overrides.evoformer.blocks=1 \
        optimizer.batch="$batch" optimizer.warmup_samples=$((2 * batch)) run.samples=$((steps * batch)) run.validate_every="$steps" \
        run.validation_passes=1 run.validate_training=true run.checkpoint_every=1000; do
        train+=(--set "$set")
    done
    train+=("$@")
}

# scalars RUN: its log without the clock.
scalars() { sed 's/"seconds":[^,]*,//' "$1/metrics.jsonl"; }

# newest RUN: its newest checkpoint.
newest() { ls "$1"/checkpoints/step-*.ckpt | tail -n 1; }

# raw RUN: what its newest checkpoint's parameters are converted to.
raw() { "$anyfold" params convert --raw "$(newest "$1")" "$1/raw.safetensors" >/dev/null; }

same() {
    [ "$(scalars "$1" | wc -l)" -ge "$steps" ] && cmp <(scalars "$1") <(scalars "$2") && raw "$1" && raw "$2" &&
        cmp "$1/raw.safetensors" "$2/raw.safetensors"
}

mkdir "$work/structures"
cp assets/goldens/data/files/{2rbg.pdb.gz,3zee.cif.gz} "$work/structures"
"$anyfold" data prepare "$work/structures" --out "$work/set" >/dev/null

for n in 2 4; do
    arguments "$work/alone-$n" "$n"
    "${train[@]}"
    arguments "$work/ranks-$n" "$n"
    mpirun -np "$n" "${train[@]}"
    check "$n processes have the bits of one with batch $n, over $steps steps" same "$work/alone-$n" "$work/ranks-$n"
done
differ() { ! cmp -s <(scalars "$1") <(scalars "$2"); }
check "and those of another batch differ" differ "$work/alone-2" "$work/ranks-4"
arguments "$work/ranks-of-4" 4
mpirun -np 2 "${train[@]}"
check "2 processes of two examples each have the bits of one with batch 4" same "$work/alone-4" "$work/ranks-of-4"

# Begun by two processes and gone on with by one.
(( steps > 1 )) && {
    arguments "$work/resumed" 2 --set run.samples=2
    mpirun -np 2 "${train[@]}"
    arguments "$work/resumed" 2 --resume
    "${train[@]}"
    raw "$work/resumed"
    check "a run that two processes began and one resumed has the same parameters" cmp "$work/resumed/raw.safetensors" "$work/alone-2/raw.safetensors"
}

# refused N TEXT OPTIONS...: the run ends with status 2 and one line with this text.
refused() {
    local n=$1 text=$2 status=0
    shift 2
    arguments "$@"
    mpirun -np "$n" "${train[@]}" >"$work/said" 2>&1 || status=$?
    [ "$status" = 2 ] && [ "$(grep -c '^error: ' "$work/said")" = 1 ] && grep -q "^error: .*$text" "$work/said" || { cat "$work/said"; false; }
}
check "a batch that cannot be shared is refused once" refused 2 "optimizer.batch. is 3" "$work/odd" 3
check "a run that is there is not overwritten" refused 2 "give --resume" "$work/ranks-2" 2

# An error of the second process alone: it is started with another configuration file.
differing() {
    arguments "$work/differing" 2
    printf '#!/bin/sh\n[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && set -- "$@" %s\nexec "$@"\n' "$1" >"$work/second"
    chmod +x "$work/second"
    local status=0
    mpirun -np 2 "$work/second" "${train[@]}" >"$work/said" 2>&1 || status=$?
    [ "$status" = 2 ] && [ "$(grep -c '^error: ' "$work/said")" = 1 ] && grep -q "^error: .*$2" "$work/said" || { cat "$work/said"; false; }
}
check "processes with different configurations are refused" differing "--seed 7" "the configuration of process 1"
check "an error of one process ends all, with its message" differing "--adapter nothing" "process 1 of 2: no adapter .nothing."

# Asked to stop, all finish the step; a checkpoint is written and nothing hangs.
stopped() {
    arguments "$work/stopped" 2 --set run.samples=100000
    printf '#!/bin/sh\n[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && echo $$ >%s/pid\nexec "$@"\n' "$work" >"$work/second"
    mpirun -np 2 "$work/second" "${train[@]}" >"$work/said" 2>&1 &
    local launcher=$! status=0 waited=0
    until [ -s "$work/stopped/metrics.jsonl" ] || [ $waited -ge 300 ]; do
        sleep 1
        waited=$((waited + 1))
    done
    kill -TERM "$(cat "$work/pid")"
    wait "$launcher" || status=$?
    [ "$status" = 2 ] && grep -q "^error: stopped on request" "$work/said" && [ -s "$(newest "$work/stopped")" ] || { cat "$work/said"; false; }
}
check "asked to stop, one of two processes stops both, with a checkpoint" stopped

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
