"""From accepted fits to a training set: Sample shards, and the layout of the paper's curated fits."""

import fnmatch
import io
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.curation.prepare import check_unchanged
from openexpose.curation.record import Decision, FitRecord, FitRow, PhotoRow
from openexpose.curation.statistics import project_statistics
from openexpose.curation.store import Store
from openexpose.data.sample import Sample
from openexpose.data.sample_shards import HELD_OUT, upright_file, write_samples
from openexpose.data.smplx_sets import OPENPOSE137
from openexpose.errors import InputError
from openexpose.fitting.export import samples_of
from openexpose.fitting.observed import Observed
from openexpose.formats.atomic import write_whole
from openexpose.geometry.rotation import matrix_to_rotvec
from openexpose.image.read import real_path

Array = np.ndarray
Agreed = Literal["one", "majority", "all"]
IMAGES, STATISTICS = "images", "statistics.json"
_OURS = ("samples-*", "train.npz", "val.npz", IMAGES, STATISTICS)
_PLAIN = r"[^\w.-]"
_LONGEST_STEM = 80


@dataclass(frozen=True)
class Exported:
    """What was written."""

    fits: int
    photos: int
    left_out: list[str]
    """Photos that are gone, or are not those any more that were fitted: one sentence each."""


@dataclass(frozen=True)
class _Row:
    """An accepted fit."""

    file: str
    """Its picture, in :data:`IMAGES`."""
    split: str
    sample: Sample
    record: FitRecord
    notes: dict[str, str]


def is_accepted(fit: FitRow, agreed: Agreed) -> bool:
    """Whether a fit counts as accepted: by ``one`` reviewer or more, by the ``majority`` of those who judged it, or by
    ``all`` of these."""
    said = list(fit.verdicts.values())
    accepted = said.count("accept")
    return accepted > {"one": 0, "majority": len(said) // 2, "all": len(said) - 1}[agreed] and accepted > 0


def export(store: Store, out: Path, model: BodyModel, agreed: Agreed = "majority") -> Exported:
    """Write the accepted fits of a project into a folder, which appears whole or not at all.

    ``samples-*.tar`` (:mod:`openexpose.data.sample_shards`); ``train.npz``, ``val.npz`` and ``images/``, which
    :func:`~openexpose.data.smplx_sets.read_curated_fits` reads; ``statistics.json``. The last of every ten photos is
    ``val``. Pictures are upright.

    Args:
        store: the project.
        out: is new or empty, or an earlier export, which is replaced.
        model: the body model of the fits.
        agreed: see :func:`is_accepted`.

    Raises:
        InputError: nothing was accepted, none of its photos is left, the folder holds something else or photos of the
            project, is the current one, or cannot be written to.
    """
    out = real_path(out)
    _check_place(out, store.photos())
    fits = store.fits("id")
    chosen = sorted((fit for fit in fits if is_accepted(fit, agreed)), key=lambda fit: (fit.photo.id, fit.person))
    if not chosen:
        judged = sum(bool(fit.verdicts) for fit in fits)
        got = f"no accepted fit (--agreed {agreed}) among {len(fits)}, {judged} of them judged"
        raise InputError(got, "at least one", "Judge them with 'openexpose curate review'.")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        (part / IMAGES).mkdir(parents=True)
        exported = _write(store, part, model, chosen, agreed)
        _replace(part, out)
    except OSError as error:
        got = f"'{out}' cannot be written ({error.strerror or error})"
        raise InputError(got, "a folder that can be written to, with free space") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return exported


def _write(store: Store, part: Path, model: BodyModel, chosen: list[FitRow], agreed: str) -> Exported:
    rows: list[_Row] = []
    left_out: list[str] = []
    photos = 0
    said = {decision.id: decision for decision in store.decisions()}
    for photo, group in groupby(chosen, key=lambda fit: fit.photo):
        people = [(fit, store.record(fit.id)) for fit in group]
        called = f"{re.sub(_PLAIN, '_', photo.path.stem)[:_LONGEST_STEM]}-{photo.sha256[:8]}"
        samples = [_sample(f"curated/{called}/{fit.person}", photo.path, model, record) for fit, record in people]
        try:
            image = _picture(photo, samples[0], part / IMAGES / called)
        except InputError as error:
            left_out.append(str(error))
            continue
        split = "val" if photos % HELD_OUT == HELD_OUT - 1 else "train"
        photos += 1
        for sample, (fit, record) in zip(samples, people, strict=True):
            rows.append(_Row(image.name, split, replace(sample, image=image), record, _notes(fit, record, said)))
    if not rows:
        got = f"none of the {len(left_out)} photos of accepted fits; the first: {left_out[0]}"
        raise InputError(got, "the photos that were fitted")
    write_samples(part, (row.sample for row in rows), notes=(row.notes for row in rows))
    for split in ("train", "val"):
        some = [row for row in rows if row.split == split]
        if some:
            _write_curated(part / f"{split}.npz", some)
    exported = Exported(len(rows), photos, left_out)
    numbers = {"exported": {"fits": len(rows), "photos": photos, "agreed": agreed, "left out": left_out}}
    numbers |= project_statistics(store, {fit.id for fit in chosen})
    write_whole(part / STATISTICS, (json.dumps(numbers, indent=2) + "\n").encode())
    return exported


def _picture(photo: PhotoRow, sample: Sample, place: Path) -> Path:
    """Write a photo, upright; returns the file, which is the place with its ending.

    Raises:
        InputError: it has gone, or is not the one that was fitted.
    """
    check_unchanged(photo.path, photo.sha256)
    content, suffix = upright_file(sample)
    image = place.with_name(f"{place.name}.{suffix}")
    image.write_bytes(content)
    return image


def _sample(name: str, image: Path, model: BodyModel, record: FitRecord) -> Sample:
    people = record.people
    points = keypoints(model, people.pose, people.betas, people.expression) + people.transl[:, None]
    seen = Observed(name, record.keypoints_px, people.image_size, record.source)
    return samples_of(people, points, [seen], image)[0]


def _notes(fit: FitRow, record: FitRecord, said: Mapping[int, Decision]) -> dict[str, str]:
    """What is told of a fit beside its numbers; texts by name."""
    photo = fit.photo
    mine = [said[number] for number in fit.last.values() if number in said]
    remarks = [f"{decision.reviewer}: {decision.note}" for decision in mine if decision.note]
    notes = {
        "photo": photo.path.name,
        "sha256": photo.sha256,
        "licence": photo.licence,
        "keypoints": record.source,
        "badness": f"{fit.badness:.3f}",
        "verdicts": "; ".join(f"{name}: {verdict}" for name, verdict in sorted(fit.verdicts.items())),
        "remarks": "; ".join(sorted(remarks)),
    }
    return {name: text for name, text in notes.items() if text}


def _write_curated(path: Path, rows: Sequence[_Row]) -> None:
    """The layout of the paper's curated fits, with the body model and the notes as further keys."""
    people = [row.record.people for row in rows]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        img_fns=np.array([f"{IMAGES}/{row.file}" for row in rows]),
        pose=matrix_to_rotvec(np.concatenate([one.pose for one in people]).astype(float)).astype(np.float32),
        betas=np.concatenate([one.betas for one in people]),
        expression=np.concatenate([one.expression for one in people]),
        keypoints2D=np.stack([_openpose(row.record.keypoints_px) for row in rows]),
        coefficients=np.array([one.body_model for one in people]),
        focal_px=np.array([one.focal_px for one in people]),
        notes=np.array([json.dumps(row.notes) for row in rows]),
    )
    write_whole(path, file.getvalue())


def _openpose(seen: Float[Array, "144 3"]) -> Float32[Array, "137 3"]:
    """Keypoints in OpenPose's order, zero where it has others."""
    return np.where(OPENPOSE137[:, None] >= 0, seen[OPENPOSE137], 0.0).astype(np.float32)


def _check_place(out: Path, photos: Sequence[PhotoRow]) -> None:
    if not out.exists():
        return
    expected = "a new or empty folder, or an earlier export"
    if real_path(Path()).is_relative_to(out):
        raise InputError(f"'{out}', which this command runs in", expected, "Choose another --out, or another folder.")
    inside = next((photo.path for photo in photos if photo.path.is_relative_to(out)), None)
    if inside is not None:
        got = f"'{out}' with the project's photo '{inside.relative_to(out)}' in it"
        raise InputError(got, expected, "Choose another --out.")
    if not out.is_dir():
        raise InputError(f"'{out}', which is a file", expected)
    names = [path.name for path in out.iterdir()]
    others = [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in _OURS)]
    if others or (names and STATISTICS not in names):
        raise InputError(f"'{out}' with {(others or names)[0]!r} in it", expected, "Choose another --out.")


def _replace(part: Path, out: Path) -> None:
    """Put a finished folder in its place."""
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    if out.exists():
        out.rename(old)
    part.rename(out)
    shutil.rmtree(old, ignore_errors=True)
