"""Adults to learn the shape space from: anny's calibrated phenotype distribution plus symmetric local changes.

Phenotypes (gender, age, muscle, weight, height, proportions ...) follow `anny.shape_distribution`, which was
calibrated to WHO height and weight statistics.  The strengths of the local changes (a longer nose, wider hips ...)
are our own choice, not population data: 0.12 of the slider on the body and 0.3 on the face (one standard
deviation)."""

import types

import numpy as np
from jaxtyping import Float

from .source import MakeHumanSource

AGE_RANGE_YEARS = (18.0, 80.0)
SIGMA_BODY = 0.12
SIGMA_FACE = 0.3
SIGMA_PREGNANT = 0.1
_FACE_WORDS = ("cheek", "chin", "ear", "eye", "brow", "forehead", "head", "mouth", "nose", "neck-double")
#: sliders that are not a matter of body shape, or that leave the population
_EXCLUDED_WORDS = ("nipple", "bulge", "trans-out", "breast-point", "chin-cleft")


def sample_people(source: MakeHumanSource, count: int, seed: int) -> Float[np.ndarray, "N K"]:
    """Blend-shape coefficients of `count` random adults with neutral faces, mirror-symmetric."""
    phenotypes = _sample_phenotypes(source, count, seed)
    local = _sample_local_changes(source, count, np.random.default_rng(seed))
    return _coefficients(source, phenotypes, local)


def _sample_phenotypes(source: MakeHumanSource, count: int, seed: int) -> Float[np.ndarray, "N P"]:
    import torch
    from anny.shape_distribution import SimpleShapeDistribution

    labels = source.phenotypes.tolist()
    model = types.SimpleNamespace(dtype=torch.float64, device="cpu", phenotype_labels=labels)
    low, high = (torch.tensor(bound, dtype=torch.float64) for bound in AGE_RANGE_YEARS)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        ages = torch.distributions.Uniform(low, high)
        _, values = SimpleShapeDistribution(model, morphological_age_distribution=ages).sample(count)
    return np.stack([values[label].numpy() for label in labels], axis=1).clip(0, 1)


def _sample_local_changes(source: MakeHumanSource, count: int, rng: np.random.Generator) -> Float[np.ndarray, "N L"]:
    labels = source.local_changes.tolist()
    changes = np.zeros((count, len(labels)))
    for column, label in enumerate(labels):
        paired = label.startswith(("l-", "r-"))
        if "nipple" in label or (not paired and any(word in label for word in _EXCLUDED_WORDS)):
            continue
        on_face = any(word in label for word in _FACE_WORDS)
        sigma = SIGMA_FACE if on_face else SIGMA_BODY
        if "pregnant" in label:
            sigma = SIGMA_PREGNANT
        elif "trans" in label and not on_face:
            sigma *= 0.4
        changes[:, column] = sigma * rng.standard_normal(count)
    for column, label in enumerate(labels):
        if label.startswith("r-"):
            changes[:, column] = changes[:, labels.index("l-" + label[2:])]
    return changes.clip(-1, 1)


def _coefficients(source: MakeHumanSource, phenotypes: np.ndarray, local: np.ndarray) -> Float[np.ndarray, "N K"]:
    import torch
    from anny.models.phenotype import make_phenotype_anchors, phenotype_blendshape_weights

    weights = phenotype_blendshape_weights(
        torch.tensor(phenotypes, dtype=torch.float64),
        source.phenotypes.tolist(),
        make_phenotype_anchors(torch.float64),
        torch.tensor(source.phenotype_mask).double(),
        extrapolate=False,
    ).numpy()
    coefficients = np.zeros((len(phenotypes), len(source.blendshapes)), np.float32)
    coefficients[:, : weights.shape[1]] = weights
    first_local = weights.shape[1] + len(source.actions)
    coefficients[:, first_local::2] = np.maximum(local, 0)
    coefficients[:, first_local + 1 :: 2] = np.maximum(-local, 0)
    return coefficients
