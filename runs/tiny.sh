#!/usr/bin/env bash
# The whole pipeline in small, on two cores: renders, pre-trains body, hand and face, trains them jointly, exports a
# bundle and evaluates it: the three rows of the paper's Table 2 on held-out renders. A narrow trunk stands for the
# paper's, so that it takes minutes: it shows that everything runs and every stage learns, not how good the method is.
#
#     make .venv-dev && runs/tiny.sh [FOLDER] [PERCENT]
#
# PERCENT scales pictures and steps (100: about ten minutes; CI runs 2).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-run/tiny}
percent=${2:-100}
export PATH="$PWD/.venv-dev/bin:$PATH" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

scaled() { echo $(($1 * percent / 100 > $2 ? $1 * percent / 100 : $2)); }

render() { openexpose synth --preset "$1" --count "$2" --seed 1 --out "$out/shards"; }
render people "$(scaled 800 20)" & people=$!
render body "$(scaled 1200 20)"
render hands "$(scaled 800 20)"
wait $people
render faces "$(scaled 800 20)" & faces=$!

train() { openexpose train "$1" --recipe paper --data "$out/shards" --out "$out/$1" --steps "$2" --rate "$3" "${@:4}"; }
small=(--trunk resnet18_w16 --batch 16 --validate-every "$(scaled 100 5)" --log-every "$(scaled 20 5)")
# Bodies unvaried: these steps are too few to learn them at all scales, angles and cuts.
train body "$(scaled 450 10)" 3e-4 "${small[@]}" --no-augment & body=$!
wait $faces
train hand "$(scaled 300 10)" 3e-4 "${small[@]}"
train face "$(scaled 300 10)" 3e-4 "${small[@]}"
wait $body

train joint "$(scaled 200 6)" 1e-4 --weights "$out" --batch 16 --part-batch 8 --threads 2 --no-augment \
    --validate-every "$(scaled 50 3)" --log-every "$(scaled 10 3)"

openexpose bundle --weights "$out" --out "$out/bundle-parts"
openexpose bundle --weights "$out/joint" --out "$out/bundle-joint"
for row in parts joint; do
    openexpose evaluate --protocol renders --data "$out/shards" --split val --bundle "$out/bundle-$row" \
        --out "$out/$row"
done
