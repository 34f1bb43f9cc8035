"""Which bundle is meant by the options --bundle and --fast of several verbs."""

from pathlib import Path

from openexpose.errors import InputError


def chosen_bundle(bundle: Path | None, fast: bool) -> Path | None:
    """The folder of the bundle to use; None: the packaged default.

    Raises:
        InputError: both options are given.
    """
    if not fast:
        return bundle
    if bundle is not None:
        raise InputError(f"--fast with --bundle '{bundle}'", "one of them: --fast is a bundle in the package")
    from openexpose.predict.bundle import fast_bundle

    return fast_bundle()
