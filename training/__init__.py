"""Makes checkpoints: data and their long tails, networks, methods, the loop.

`train(config)` is the whole of it as a function, `python -m training.run` as a command. Nothing here knows
how the networks will be measured.
"""

import sys

import foundation

if not hasattr(foundation, "__longtail_landscape__"):
    _place = getattr(foundation, "__file__", None)
    _sentence = (
        f"another package named 'foundation' ({_place}) hides the one of longtail-landscape: "
        "run from another folder, or take it off PYTHONPATH or out of the environment"
    )
    # `python -m` is still looking for its module: no command is there yet that could say the sentence.
    raise SystemExit(f"error: {_sentence}") if sys.argv[:1] == ["-m"] else ImportError(_sentence)

from training.config import Config
from training.epochs import Run, train

__all__ = ["Config", "Run", "train"]
