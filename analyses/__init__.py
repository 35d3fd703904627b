"""Studies: which runs, which measurements, which question. The numerics live in `landscape` and `training`."""
