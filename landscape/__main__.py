"""`landscape COMMAND …`: every command under one name. `python -m landscape.COMMAND …` is the same."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from foundation.errors import InputError, one_of
from foundation.packages import package_version

COMMANDS = {  # only the one that is asked for is imported
    "hessian": ("landscape.hessian.__main__", "eigenvalues, trace, density and a verdict for every class and group"),
    "sharpness": ("landscape.sharpness.__main__", "how far each class's loss rises in small balls around the weights"),
    "surface": ("landscape.surface.__main__", "every class's loss on a plane through the weights, or along a line"),
    "check": ("landscape.recording.check_command", "what can be measured of an own network, how, and at what cost"),
    "verify": ("landscape.verification.verify_command", "whether result files can be believed"),
    "selftest": ("landscape.verification.selftest_command", "whether this machine computes what it should"),
    "report": ("landscape.report.__main__", "one interactive page that compares measured networks"),
    "figures": ("landscape.figures.__main__", "figures and a table for papers"),
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command that the first argument names; it ends the process with its own exit code.

    Args:
        argv: Arguments instead of `sys.argv[1:]`, for tests.
    """
    name, *rest = list(sys.argv[1:] if argv is None else argv) or [""]
    if name in COMMANDS:
        importlib.import_module(COMMANDS[name][0]).main(rest)
    if name in {"-h", "--help"}:
        print(_help())
    elif name == "--version":
        print(f"longtail-landscape {package_version()}")
    else:
        print(f"error: {one_of('command', name, COMMANDS)} (see landscape --help)", file=sys.stderr)
        sys.exit(InputError.exit_code)
    sys.exit(0)


def _help() -> str:
    lines = [f"  {name:<11}{does}" for name, (_, does) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: landscape COMMAND …    (landscape COMMAND --help: its options; landscape --version)\n",
            "Measures the loss landscape of a trained classifier, class by class, and draws it.\n",
            *lines,
            "\nexample: landscape hessian --ckpt runs/bgp/checkpoint.pt --split test",
        ]
    )


if __name__ == "__main__":
    main()
