"""How loss and accuracy lie in a landscape file: `/evaluation/<name>`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.execution.evaluate import evaluate
from landscape.files.landscape_file import recording
from landscape.subject.subject import Subject


def record_evaluation(
    file: Path,
    name: str,
    subject: Subject,
    *,
    config: Mapping[str, Any],
    checkpoint_sha256: str,
    provenance: Mapping[str, Any],
    overwrite: bool = False,
) -> None:
    """Makes sure that `/evaluation/<name>` is in the result file; every measuring command calls it first.

    Args:
        file: The `landscape.h5`.
        name: The measurement's name.
        subject: What is measured.
        config: Of the opened checkpoint.
        checkpoint_sha256: Of the checkpoint.
        provenance: Of this process.
        overwrite: Replace one of another configuration.
    """
    subject = subject.with_subsets(None)  # one pass gives them all, whichever ones a command was asked for
    with recording(
        file, "evaluation", name, subsets=subject.subsets, config=config, extent={},
        checkpoint_sha256=checkpoint_sha256, provenance=provenance, overwrite=overwrite,
    ) as record:  # fmt: skip
        if record is None:
            return
        evaluation = evaluate(subject)
        shape = (len(subject.subsets),)
        record.create("loss", dims=["subset"], shape=shape, unit="nats", meaning="mean loss")
        record.create("accuracy", dims=["subset"], shape=shape, unit="1", meaning="share classified rightly")
        record.write("loss", slice(None), evaluation.loss)
        record.write("accuracy", slice(None), evaluation.accuracy)
        record.finish()
