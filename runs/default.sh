#!/usr/bin/env bash
# Makes the shipped weights from nothing but this checkout: renders, trains the three regressors, writes the bundle.
# About an hour and a half on two cores. Interrupted runs go on where they were.
#
#     make .venv-dev && runs/default.sh run/
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-run}
openexpose=.venv-dev/bin/openexpose
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

$openexpose synth --preset body --count 20000 --seed 33 --shard-size 1000 --out "$out/shards" --workers 2
$openexpose synth --preset hands --count 16000 --seed 32 --shard-size 1000 --out "$out/shards" --workers 2
$openexpose synth --preset faces --count 16000 --seed 31 --shard-size 1000 --out "$out/shards" --workers 2

$openexpose train body --data "$out/shards" --out "$out/weights/body" &
body=$!
$openexpose train hand --data "$out/shards" --out "$out/weights/hand"
$openexpose train face --data "$out/shards" --out "$out/weights/face"
wait $body

$openexpose bundle --weights "$out/weights" --out "$out/bundle"
