"""From any subject to a `landscape.h5`: `landscape.measure` and `landscape.save`."""
