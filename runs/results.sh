#!/usr/bin/env bash
# The numbers of docs/results.md: makes the test sets test-v1 and test-v2 and measures the shipped weights on them, the
# networks alone (first rows of the paper's Table 2) and with refinement; then, if a folder of annotated photos is given,
# on these. About half an hour on two cores.
#
#     make results [PHOTOS=FOLDER]        or        runs/results.sh [OUT] [PHOTOS]
#
# PHOTOS: index.json and photos, in the format of docs/evaluation.md. In the environment: PEOPLE=N measures on the first
# N people or pictures only; STEPS=700 adds the last row of Table 2: renders 3,000 scenes, trains the three networks jointly for so
# many steps (an hour) and measures them, too.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-run/results}
photos=${2:-}
export PATH="$PWD/.venv-dev/bin:$PATH" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

few=()
if [[ -n ${PEOPLE:-} ]]; then few=(--count "$PEOPLE"); fi
openexpose synth --preset test "${few[@]}" --workers 2 --out "$out/test-v1"

measure() { openexpose evaluate --protocol "$1" --data "$2" --out "$out/$3" "${@:4}"; }
measure renders "$out/test-v1" renders-networks --no-refine
measure renders "$out/test-v1" renders
openexpose synth --preset test-v2 "${few[@]}" --workers 2 --out "$out/test-v2"
measure renders "$out/test-v2" scenes-networks --no-refine
measure renders "$out/test-v2" scenes
runs=("$out/renders-networks" "$out/renders")

if [[ -n ${STEPS:-} ]]; then
    openexpose synth --preset people --count 3000 --shard-size 250 --seed 11 --workers 2 --out "$out/people"
    openexpose train joint --data "$out/people" --weights weights/default --out "$out/joint" --steps "$STEPS" --batch 8
    openexpose bundle --weights "$out/joint" --out "$out/bundle-joint"
    measure renders "$out/test-v1" renders-end-to-end --no-refine --bundle "$out/bundle-joint"
    runs+=("$out/renders-end-to-end")
fi
openexpose compare "${runs[@]}" --out "$out/compared"

if [[ -n $photos ]]; then  # exit code 1: some could not be measured; the report names them
    measure photos "$photos" photos || [[ $? -eq 1 ]]
    measure photos "$photos" photos-networks --no-refine || [[ $? -eq 1 ]]
fi
