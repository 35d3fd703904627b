"""Data sets as they lie on a disk, one format a file."""
