"""``openexpose data``: look at data sets of labelled pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openexpose.cli.extras import need


@dataclass(frozen=True)
class CheckData:
    """Read a data set and tell what it holds and what is missing (needs the extra 'train').

    Exit code 0 when it is complete, 1 when pictures are missing or damaged, 2 when it cannot be used.
    """

    name: tyro.conf.Positional[str]
    """Which data set: coco, coco-wholebody, curated-fits, ehf, ffhq, freihand, h36m, lsp, lsp-extended, mpii, openpose,
    samples, spin, stirling, synthetic or threedpw."""
    folder: tyro.conf.Positional[Path]
    """Where it lies, laid out as its authors distribute it."""
    split: str = "train"
    """Which part of it: train, val or test (stirling: HQ or LQ)."""

    def run(self) -> int:
        """Check; returns the exit code."""
        need("train", "cv2", "scipy")
        from openexpose.data.check import check_dataset, format_findings

        found = check_dataset(self.name, self.folder, self.split)
        print(format_findings(found))
        return 0 if found.complete else 1


@dataclass(frozen=True)
class ListData:
    """Name the data sets that can be read, and the files that each wants (needs the extra 'train')."""

    def run(self) -> int:
        """List; returns the exit code."""
        need("train", "cv2", "scipy")
        from openexpose.data.check import READERS

        for name, reader in READERS.items():
            summary = " ".join((reader.__doc__ or "").split("\n\n")[0].split())
            print(f"{name}: {summary.replace(':func:', '').replace('`', '')}")
        return 0


@dataclass(frozen=True)
class Data:
    """Look at data sets of labelled pictures."""

    command: tyro.conf.OmitSubcommandPrefixes[
        Annotated[CheckData, tyro.conf.subcommand("check")] | Annotated[ListData, tyro.conf.subcommand("list")]
    ]

    def run(self) -> int:
        """Run the chosen command; returns the exit code."""
        return self.command.run()
