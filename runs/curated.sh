#!/usr/bin/env bash
# The paper's bootstrapping loop in small, on rendered "photos" whose truth is known. A body network learns from close-ups;
# photos it has never seen are predicted, fitted to the keypoints of a detector that errs, and judged by a reviewer who errs;
# it then learns with the fits, too. Does it pay to judge them? docs/results.md has what came out.
#
#     make .venv-dev && runs/curated.sh [FOLDER] [PERCENT]
#
# PERCENT scales pictures and seeds (100: about an hour and a half on two cores; CI runs 1).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-run/curated}
percent=${2:-100}
export PATH="$PWD/.venv-dev/bin:$PATH" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

scaled() { echo $(($1 * percent / 100 > $2 ? $1 * percent / 100 : $2)); }
steps=$(scaled 450 4) batch=$(scaled 256 8)

# Pictures: to begin with, "photos", and others to measure on.
openexpose synth --preset body --count "$(scaled 4000 24)" --seed 201 --out "$out/base" &
openexpose synth --preset people --count "$(scaled 1000 12)" --seed 202 --out "$out/scenes"
openexpose synth --preset people --count "$(scaled 400 12)" --seed 203 --out "$out/test"
wait $!
python bench/bootstrap.py photos --scenes "$out/scenes" --out "$out"

# The network before, and its fits.
openexpose train body --data "$out/base" --out "$out/before/body" --steps "$steps" --batch "$batch"
openexpose bundle --weights "$out/before" --out "$out/bundle"
openexpose curate prepare "$out/photos" --keypoints "$out/keypoints" --project "$out/project" --bundle "$out/bundle" \
    --licence "CC0-1.0, rendered"
python bench/bootstrap.py review --photos "$out" --project "$out/project" --out "$out/judged"
for policy in all curated random scores; do
    openexpose curate export --project "$out/judged/$policy" --out "$out/sets/$policy"
done
python bench/bootstrap.py truth --scenes "$out/scenes" --out "$out/sets/truth"

# The network after, with each.
for seed in $(seq 0 "$(($(scaled 3 1) - 1))"); do
    for policy in none all curated random scores truth; do
        extra=()
        if [ "$policy" != none ]; then extra=("samples=$out/sets/$policy"); fi
        openexpose train body --data "$out/base" "${extra[@]}" --out "$out/after/$policy-$seed" --seed "$seed" \
            --steps "$steps" --batch "$batch"
    done
done
python bench/bootstrap.py compare --test "$out/test" --weights "$out/after"
