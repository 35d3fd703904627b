"""Makes checkpoints: data and their long tails, networks, methods, the loop.

`train(config)` is the whole of it as a function, `python -m training.run` as a command. Nothing here knows
how the networks will be measured.
"""

from training.config import Config
from training.epochs import Run, train

__all__ = ["Config", "Run", "train"]
