"""What training and measuring both stand on: errors, files, devices, groups of classes, commands.

Neither `training` nor `landscape` may import the other, yet both end a command with the same exit codes, write
files the same crash-safe way and split classes into many, medium and few by the same rule. Those few shared
ideas live here, one a file; nothing here knows a network or a data set.
"""

__longtail_landscape__ = True  # by which our other packages know it from another package of its name

import sys

# The word after `-m`: only a command of ours ends by our sentence, from its first import on.
_started = dict(zip(sys.orig_argv, sys.orig_argv[1:], strict=False)).get("-m", "").partition(".")[0]
if sys.argv[:1] == ["-m"] and _started in {"landscape", "training", "analyses", "benchmarks"}:
    from foundation import endings

    endings.take_over()
