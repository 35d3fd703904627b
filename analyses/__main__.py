"""`python -m analyses --list`: the studies; `--findings`: what their committed results say of the paper's claims."""

from __future__ import annotations

from analyses import no_priors, reweighting, sam_on_long_tail, tail_sharpness, training_length, universal
from analyses.engine.console import main

STUDIES = tuple(
    module.STUDY for module in (training_length, reweighting, tail_sharpness, sam_on_long_tail, universal, no_priors)
)

if __name__ == "__main__":
    main(STUDIES)
