"""What training and measuring both stand on: errors, files, devices, groups of classes, commands.

Neither `training` nor `landscape` may import the other, yet both end a command with the same exit codes, write
files the same crash-safe way and split classes into many, medium and few by the same rule. Those few shared
ideas live here, one a file; nothing here knows a network or a data set.
"""

__longtail_landscape__ = True  # by which our other packages know it from another package of its name
