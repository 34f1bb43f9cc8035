"""Text on the terminal, whatever characters it knows."""

import sys


def say(text: str) -> None:
    """Print; characters that the terminal's encoding lacks come out as escapes, and not as a traceback."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))
