"""``openexpose view``: a folder of results in the browser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openexpose.cli.extras import need


@dataclass(frozen=True)
class View:
    """Look at a folder of results in the browser, until Ctrl-C (needs the extra 'view').

    Only this machine can reach the pages.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")]
    """Folder that `openexpose predict` or `openexpose fit` wrote; npz files are what is looked at."""
    photos: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Where the photos and videos are. Default: those beside the results, else the overlays."""
    port: int = 8322
    """Port to listen on; 0: any that is free."""
    browser: bool = True
    """Open the page in the default browser."""

    def run(self) -> int:
        """Serve; returns the exit code."""
        need("view", "starlette", "uvicorn")
        from openexpose.viewer.server import serve

        serve(self.folder, self.photos, self.port, browser=self.browser)
        return 0
