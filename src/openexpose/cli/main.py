"""The ``openexpose`` command.

Exit codes: 0 done; 1 some of several inputs failed; 2 bad input, told in one line; 130 stopped with Ctrl-C.
A bug keeps its traceback. Verbs import what they need only when they run.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from openexpose.cli.assets import Assets
from openexpose.cli.bundle import Bundle
from openexpose.cli.compare import Compare
from openexpose.cli.curate import Curate
from openexpose.cli.data import Data
from openexpose.cli.evaluate import Evaluate
from openexpose.cli.export import Export
from openexpose.cli.fit import Fit
from openexpose.cli.import_expose import ImportExpose
from openexpose.cli.predict import Predict
from openexpose.cli.synth import Synth
from openexpose.cli.train import Train
from openexpose.cli.transfer import Transfer
from openexpose.cli.view import View
from openexpose.errors import InputError

_Command = (
    Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[View, tyro.conf.subcommand("view")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Synth, tyro.conf.subcommand("synth")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Curate, tyro.conf.subcommand("curate")]
    | Annotated[Transfer, tyro.conf.subcommand("transfer")]
    | Annotated[Bundle, tyro.conf.subcommand("bundle")]
    | Annotated[ImportExpose, tyro.conf.subcommand("import-expose")]
    | Annotated[Assets, tyro.conf.subcommand("assets")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: the words after ``openexpose``; None for those of this process.

    Raises:
        SystemExit: --help (0), or words that are no command (2).
    """
    try:
        command = tyro.cli(
            _Command,
            prog="openexpose",
            description="Whole-body human mesh recovery: body, hands and facial expression from one photo.",
            args=arguments,
        )
        code = command.run()
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"openexpose: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("openexpose: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
