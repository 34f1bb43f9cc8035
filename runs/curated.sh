#!/usr/bin/env bash
# The paper's bootstrapping loop in small, on rendered "photos" whose truth is known: a body network learns from few
# close-ups; photos it has never seen are predicted and fitted to the keypoints of a detector that errs; a reviewer that errs,
# too, accepts what looks right; the network learns on with what was accepted. Does that beat learning with every fit?
#
#     make .venv-dev && runs/curated.sh [FOLDER] [PERCENT]
#
# PERCENT scales pictures and seeds (100: about two hours on two cores; CI runs 1).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-run/curated}
percent=${2:-100}
export PATH="$PWD/.venv-dev/bin:$PATH" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

scaled() { echo $(($1 * percent / 100 > $2 ? $1 * percent / 100 : $2)); }
