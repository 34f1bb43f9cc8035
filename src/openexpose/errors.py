"""The one exception users see."""


class InputError(ValueError):
    """Bad input, told in one sentence: what came, what was expected, what to do.

    Args:
        got: what was received, e.g. ``"'photo.jpg' is 0 bytes long"``.
        expected: what would have been right, e.g. ``"a JPEG, PNG or WebP picture"``.
        fix: the next step for the user; may be empty.
    """

    def __init__(self, got: str, expected: str, fix: str = "") -> None:
        self.got, self.expected, self.fix = got, expected, fix
        super().__init__(f"{got}; expected {expected}" + (f". {fix}" if fix else ""))

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str]]:
        """So that it comes whole out of worker processes."""
        return type(self), (self.got, self.expected, self.fix)
