"""How loss, its slope over temperatures and accuracy lie in a landscape file: `/evaluation/<name>`."""

from __future__ import annotations

from landscape.execution.evaluate import evaluate
from landscape.files.target import Target
from landscape.files.units import recording
from landscape.ranks.team import Team, shared
from landscape.schema import NAT, SHARE, WEIGHT_NORM
from landscape.subject.subject import Subject

SLOPE = "of the loss over the logarithm of the temperature of the logits"


@shared
def record_evaluation(subject: Subject, target: Target, *, team: Team | None = None) -> None:
    """Makes sure that `/evaluation/<name>` is in the result file; every analysis calls it first.

    Args:
        subject: What is measured.
        target: The file, the name there and what is measured.
        team: The ranks that all call this: the first one evaluates, the others wait.

    Raises:
        InputError: The name is taken by another configuration, or the file is another checkpoint's.
    """
    subject = subject.with_subsets(None)  # one pass gives them all, whichever ones a command was asked for
    # Files of before do not tell the slope: they are asked for more than they hold, and evaluated once more.
    if team is not None and not team.leads:
        return
    with recording(target, "evaluation", subsets=subject.subsets, extent={"loss_slope": True}) as record:
        if record is None:
            return
        evaluation = evaluate(subject)
        shape = (len(subject.subsets),)
        record.note(WEIGHT_NORM, subject.weight_norm())
        record.create("loss", dims=["subset"], shape=shape, unit=NAT, meaning="mean loss")
        record.create("loss_slope", dims=["subset"], shape=shape, unit=NAT, meaning=SLOPE)
        record.create("accuracy", dims=["subset"], shape=shape, unit=SHARE, meaning="share classified rightly")
        record.write("loss", slice(None), evaluation.loss)
        record.write("loss_slope", slice(None), evaluation.loss_slope)
        record.write("accuracy", slice(None), evaluation.accuracy)
        record.finish()
