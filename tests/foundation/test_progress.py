"""Progress: lines that count work down, and commands whose units of work add up to what they announced."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import landscape
from foundation import progress as module
from foundation.progress import Progress
from landscape.subject.subsets import describe


def test_lines_count_down_in_work_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))
    with Progress("hessian train", 6000, "sample") as progress:
        progress.advance(0, "a twin")
        progress.advance(1500, "all")
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "hessian train: 0 of 6,000 samples a twin",
        "hessian train: 1,500 of 6,000 samples, 60 s left all",
    ]


class Counted:
    made: list[Counted] = []  # noqa: RUF012

    def __init__(self, label: str, total: int, unit: str, *, quiet: bool = False) -> None:
        self.total, self.done = total, 0
        self.made.append(self)

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done += units

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


@pytest.mark.exhaustive
def test_units_of_work_add_up_to_the_total(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    for name in ("hessian", "sharpness"):
        monkeypatch.setattr(f"landscape.{name}.record.Progress", Counted)
    monkeypatch.setattr(Counted, "made", [])
    torch.manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 12, 5]))
    subject = landscape.Subject(nn.Linear(4, 3), (torch.randn(37, 4), labels))
    landscape.measure(
        subject,
        tmp_path / "a.h5",
        hessian=landscape.HessianSettings(top=1, intervals=False),
        sharpness=landscape.SharpnessSettings(steps=1, draws=2, samples_per_class=6),
    )
    hessian, sharpness = Counted.made
    assert hessian.done == hessian.total > 2 * 37
    assert sharpness.done == sharpness.total
    assert describe(subject.subsets).endswith("(3 classes of 5 to 20 samples)")
    assert describe(subject.subsets[:1]) == "1 subset"
