"""Studies: which runs, which measurements, which question. The numerics live in `landscape` and `training`."""

import landscape  # noqa: F401 - it says so where `foundation` is not ours
from foundation.packages import require_own

require_own("landscape", "training")
