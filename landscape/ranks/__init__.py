"""Several processes that share one measurement, started by `torchrun` or joined in a process group."""
