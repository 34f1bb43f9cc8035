#!/usr/bin/env bash
# The default recipe from nothing but this checkout: renders, trains the regressors and the tuned branches of hands and
# face, writes both bundles. Two to three hours on two cores, and 6 GB. Interrupted runs go on where they were. What of the
# shipped weights was trained otherwise, docs/model-card.md says.
#
#     make .venv-dev && runs/default.sh run/
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-run}
openexpose=.venv-dev/bin/openexpose
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

$openexpose synth --preset body --count 20000 --seed 33 --shard-size 1000 --out "$out/shards" --workers 2
$openexpose synth --preset hands --count 27000 --seed 32 --shard-size 1000 --out "$out/shards" --workers 2
$openexpose synth --preset faces --count 16000 --seed 31 --shard-size 1000 --out "$out/shards" --workers 2

$openexpose train hand --tune --epochs 10 --data "$out/shards" --out "$out/weights/hand" &
hand=$!
$openexpose train body --data "$out/shards" --out "$out/weights/body"
$openexpose train face --tune --epochs 33 --data "$out/shards" --out "$out/weights/face"
$openexpose train body --trunk full --epochs 20 --data "$out/shards" --out "$out/fast/body"
wait $hand

$openexpose bundle --weights "$out/weights" --out "$out/bundle"
$openexpose bundle --weights "$out/fast" --out "$out/bundle-fast"
