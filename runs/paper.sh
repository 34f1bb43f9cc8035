#!/usr/bin/env bash
# The paper's recipe in full: checks the data sets, trains body, hand and face on their own, then all three end to end,
# exports both results and measures them on annotated photos. Interrupted runs go on where they were: give the same
# command again.
#
#     make .venv-dev && runs/paper.sh DATA [OUT] [GPUS]      # with a torch that sees the GPUs. 0: processor. Default 1
#
# NOT RUN TO THE END: neither these data sets nor a GPU were at hand. What was done: every command below was read by the
# command line (a dry run of the flags), and the same stages run in small, on renders, in runs/tiny.sh. Rates and epochs
# are the defaults of `openexpose train` and unproven. Batches are 48 bodies, 64 hands and 64 faces, shared by all GPUs,
# so that GPUS must divide 16.
#
# DATA holds what you got from its authors, under their terms (docs/data.md says more; most forbid commercial use, also
# of what is trained on them). Numbers are about what to expect.
#
#   models/SMPLX_NEUTRAL.npz   SMPL-X 1.1                                                         about 100 MB
#   imagenet/hrnet_w48.pth     HRNet-W48 classifier (HRNet-Image-Classification), ImageNet        about 300 MB
#   imagenet/resnet18.pth      ResNet18 classifier (torchvision's file), ImageNet                 about  45 MB
#
#   curated_fits/   train.npz, val.npz, images: ExPose's curated SMPL-X fits                      about 32,600 people
#   spin/           mpii.npz, lsp.npz, lspet.npz, coco.npz, images: SPIN's fits in SMPL-X         about 50,000 people
#   h36m/           train.npz, images: Human3.6M with SMPL-X fits                                 about 300,000 pictures
#   freihand/       training/rgb, training_{K,mano,xyz}.json                                      32,560 hands x 4, 4 GB
#   ffhq/           ffhq_parameters_with_keyps.npz, images (1024 px): FLAME fits of FFHQ          about 70,000, 90 GB
#
# Taken if they are there, for 2D labels (a quarter of the bodies is then drawn from these):
#
#   coco_wholebody/ annotations/coco_wholebody_{train,val}_v1.0.json, train2017, val2017          about 130,000 people
#   mpii/           annot/{train,val}.json, images                                                about 22,000 people
#   lsp/            joints.mat, images                                                            2,000 people
#   lsp_extended/   joints.mat, images                                                            10,000 people
#
# For measuring, those that are there (docs/evaluation.md says which files):
#
#   ehf/ 3dpw/ stirling/       and freihand/evaluation
#   photos/                    index.json and annotated photos of your own
#   tables/                    SMPLX_to_J14.pkl, MANO_SMPLX_vertex_ids.pkl, SMPL-X__FLAME_vertex_ids.npy
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ $# -lt 1 ]]; then
    echo "runs/paper.sh DATA [OUT] [GPUS]: see its first lines" >&2
    exit 2
fi
data=$1
out=${2:-run/paper}
gpus=${3:-1}
openexpose=.venv-dev/bin/openexpose
torchrun=.venv-dev/bin/torchrun
model=$data/models/SMPLX_NEUTRAL.npz
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

stop() {
    echo "runs/paper.sh: $1" >&2
    exit 2
}

[[ $gpus =~ ^(0|1|2|4|8|16)$ ]] || stop "GPUS is '$gpus', but must be 0 or divide 16"
for file in "$model" "$data/imagenet/hrnet_w48.pth" "$data/imagenet/resnet18.pth"; do
    [[ -f $file ]] || stop "'$file' is missing (the first lines of this script say what it is)"
done

# Every data set is read and checked before anything is trained.
check() { # NAME FOLDER
    [[ -d $2 ]] || stop "the data set $1 is missing: no folder '$2'"
    local status=0
    "$openexpose" data check "$1" "$2" --split train || status=$?
    [[ $status -le 1 ]] || stop "the data set $1 in '$2' cannot be read, see above"
    [[ $status -eq 0 ]] || echo "runs/paper.sh: $1 is not complete (see above), going on with what there is" >&2
}

bodies=() hands=() faces=()
check curated-fits "$data/curated_fits" && bodies+=("curated-fits=$data/curated_fits")
check spin "$data/spin" && bodies+=("spin=$data/spin")
check h36m "$data/h36m" && bodies+=("h36m=$data/h36m")
check freihand "$data/freihand" && hands+=("freihand=$data/freihand")
check ffhq "$data/ffhq" && faces+=("ffhq=$data/ffhq")
for name in coco-wholebody mpii lsp lsp-extended; do
    folder=$data/${name//-/_}
    if [[ -d $folder ]]; then
        check "$name" "$folder" && bodies+=("$name=$folder")
    fi
done

if [[ $gpus -eq 0 ]]; then
    where=(--device cpu --threads "$(nproc)")
else
    where=(--device cuda --precision bfloat16 --workers 8)
fi

train() { # STAGE OPTIONS...
    "$torchrun" --standalone --nproc-per-node "$((gpus > 0 ? gpus : 1))" -m openexpose.cli.main \
        train "$1" --recipe paper --body-model "$model" --out "$out/weights/$1" "${where[@]}" "${@:2}"
}

# One network after the other, each on all GPUs.
train body --data "${bodies[@]}" --trunk-weights "$data/imagenet/hrnet_w48.pth"
train hand --data "${hands[@]}" --trunk-weights "$data/imagenet/resnet18.pth"
train face --data "${faces[@]}" --trunk-weights "$data/imagenet/resnet18.pth"

# End to end through the attention. Ablations, into other folders: --freeze-body (the released last stage),
# --detach-crops (no gradients through the places of the crops).
train joint --data "${bodies[@]}" "${hands[@]}" "${faces[@]}" --weights "$out/weights"

# Networks trained separately, and after the joint stage. The bundles hold a copy of your SMPL-X file: they stay yours.
$openexpose bundle --weights "$out/weights" --out "$out/bundle-parts" --name paper-parts --body-model "$model"
$openexpose bundle --weights "$out/weights/joint" --out "$out/bundle-joint" --name paper-joint --body-model "$model"

# The field's protocols. Rows of the paper's Table 2: "openexpose, body only" and "openexpose" of `parts`, then
# "openexpose" of `joint`. Exit code 1 says that some pictures could not be measured; the reports name them.
tables=()
if [[ -d $data/tables ]]; then tables=(--tables "$data/tables"); fi
measure() { $openexpose evaluate --protocol "$1" --data "$data/$1" "${tables[@]}" --body-model "$model" "${@:2}"; }
for protocol in ehf 3dpw freihand stirling photos; do
    [[ -d $data/$protocol ]] || { echo "no '$data/$protocol': not measured"; continue; }
    for row in parts joint; do
        measure $protocol --bundle "$out/bundle-$row" --out "$out/$protocol-$row" || [[ $? -eq 1 ]]
    done
    $openexpose compare "$out/$protocol-parts/report.json" "$out/$protocol-joint/report.json"
done
