#!/usr/bin/env bash
# The default recipe from nothing but this checkout: renders, trains the regressors and the trunks' branches, writes both
# bundles. About five hours on two cores, and 16 GB. Interrupted runs go on where they were. What of the shipped weights was
# trained otherwise, docs/model-card.md says.
#
#     make .venv-dev && runs/default.sh run/
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-run}
openexpose=.venv-dev/bin/openexpose
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

$openexpose synth --preset body --count 20000 --seed 33 --shard-size 1000 --out "$out/shards" --workers 2
$openexpose synth --preset people --count 6000 --seed 51 --shard-size 250 --out "$out/shards" --workers 2
$openexpose synth --preset hands --count 27000 --seed 32 --shard-size 1000 --out "$out/shards" --workers 2
$openexpose synth --preset hands --count 33000 --seed 42 --shard-size 1000 --out "$out/shards" --workers 2
$openexpose synth --preset faces --count 16000 --seed 31 --shard-size 1000 --out "$out/shards" --workers 2
$openexpose synth --preset faces --count 24000 --seed 41 --shard-size 1000 --out "$out/shards" --workers 2

$openexpose train hand --tune --data "$out/shards" --out "$out/weights/hand" &
hand=$!
$openexpose train body --tune --data "$out/shards" --out "$out/weights/body"
$openexpose train face --tune --data "$out/shards" --out "$out/weights/face"
$openexpose train body --tune --trunk full --data "$out/shards" --out "$out/fast/body"
wait $hand

$openexpose bundle --weights "$out/weights" --out "$out/bundle"
$openexpose bundle --weights "$out/fast" --out "$out/bundle-fast"
