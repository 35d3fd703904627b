"""Steps that are recorded once and replayed, and steps that never make a GPU's host wait; both seen on the CPU."""

import contextlib
import functools

import pytest
import torch

from tests.training.tape import Tape, recorder
from tests.training.test_epochs import config
from training import optimizer
from training.epochs import open_configured
from training.methods.method import build_method
from training.methods.objective import TrainingProgress
from training.methods.optimizers.captured import WatchedProgress
from training.trainer import Trainer

METHODS = {
    "ce": {},
    "bgp": {"method_kwargs": {"balance": "running"}, "ema": 0.9},
    "bgp rising": {"method_kwargs": {"schedule": "rising"}},
    "bgp classifier": {"method_kwargs": {"member": "classifier"}},
    "ldam-drw+bgp": {"method_kwargs": {"drw.start": 0.5}},
    "ib": {"method_kwargs": {"start": 0.5}},
    "cc-sam": {"method_kwargs": {"stage_share": 0.5}},
    "mixup+bgp": {},
    "cmo+la": {"method_kwargs": {"unmixed_epochs": 1, "probability": 1.0}},
}


def trainer_of(folder, key, device="cpu", **changes):
    method = key.split(" ")[0]
    settings = config(
        folder, method=method, precision="float64", batch_size=64, epochs=3, **{**METHODS[key], **changes}
    )
    data = open_configured(settings)
    return Trainer(
        settings, data, build_method(method, data.class_counts, **settings.method_kwargs), torch.device(device)
    )


@pytest.mark.parametrize("key", METHODS)
def test_replayed_steps_are_those_that_python_would_take(tmp_path, key, monkeypatch):
    """Batches of two sizes, deferred weights, mixed labels, class shares, later stages, averages: to the last bit."""
    plain = trainer_of(tmp_path, key)
    replayed, recorded = trainer_of(tmp_path, key), []

    def record(work):
        recorded.append(replayed.phase)
        return recorder(replayed.network)(work)

    enter = replayed.enter

    def enter_and_capture(phase):
        enter(phase)
        replayed.captured = replayed.capture(record)

    replayed.enter = enter_and_capture
    enter_and_capture(replayed.phase)
    assert len({plain.batch_size(index) for index in range(plain.steps_per_epoch)}) == 2
    for epoch in range(plain.epochs):
        ours, theirs = replayed.epoch(epoch), plain.epoch(epoch)
        assert ours["objective"] == pytest.approx(theirs["objective"], rel=1e-12)
    for name, tensor in replayed.exported().items():
        torch.testing.assert_close(tensor, plain.exported()[name], rtol=1e-12, atol=1e-14)
    assert bool(recorded) != (key == "bgp rising")  # whose λ is another at every step


def test_a_recording_holds_while_progress_answers_alike():
    early, later = TrainingProgress(0.1, 1, 10), TrainingProgress(0.4, 4, 10)
    watched = WatchedProgress(early)
    assert watched.holds_at(later)  # nothing was asked
    assert not watched.reached(0.3) and watched.holds_at(TrainingProgress(0.2, 2, 10)) and not watched.holds_at(later)
    watched = WatchedProgress(early)
    assert watched.share == 0.1 and not watched.holds_at(later)


NEVER_WAITING = ("ce", "bgp", "bgp classifier", "ldam-drw+bgp", "ib", "cc-sam", "mixup+bgp", "cmo+la")
PERTURBING = ("sam", "asam", "gsam", "imbsam", "focal-sam", "sse-sam", "gnm")


@pytest.mark.parametrize("key", [*NEVER_WAITING, *PERTURBING])
def test_a_step_never_makes_the_host_wait(tmp_path, key, monkeypatch):
    """The CPU's plain optimizers count their steps on the host: those of a GPU, fused, do not."""
    METHODS.setdefault(key, {})
    fused = functools.partial(optimizer.build_optimizer, fused=True)
    monkeypatch.setattr("training.trainer.build_optimizer", lambda *given, **ignored: fused(*given))
    changes = {"optimizer": "adamw", "clip": 1.0, "lr": 1e-3, "ema": 0.0, "augment": "autoaugment"}
    trainer = trainer_of(tmp_path, key, **changes)
    steps = trainer.batches(trainer.epochs // 2, seed=0)
    trainer.step(0, 0, *next(steps))  # the first step makes the optimizer's state
    batch, mix = next(steps)
    with Tape() as tape:
        trainer.step(0, 1, batch, mix)
    assert len(tape.done) > 50 and tape.waits() == []


@pytest.mark.parametrize(
    "work",
    [lambda x: float(x.sum()), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: bool((x > 0).all()),
     lambda x: torch.equal(x, x), lambda x: x.masked_select(x > 0), lambda x: x.long().abs().bincount()],
)  # fmt: skip
def test_waiting_is_seen(work):
    with Tape() as tape:
        work(torch.randn(5))
    assert tape.waits()


@pytest.mark.parametrize("key", ["bgp", "ldam-drw+bgp", "mixup+bgp", "cc-sam", "sam", "imbsam"])
def test_nothing_passes_between_host_and_device_in_a_step(tmp_path, key, monkeypatch):
    """On the `meta` device tensors have no numbers, so that what the host reads of them is an error."""
    METHODS.setdefault(key, {})
    monkeypatch.setattr("torch.autocast", lambda *given, **options: contextlib.nullcontext())  # meta has none
    trainer = trainer_of(tmp_path, key, device="meta", clip=1.0, ema=0.9, augment="autoaugment")
    steps = trainer.batches(trainer.epochs // 2, seed=0)
    trainer.step(0, 0, *next(steps))  # what each class has is placed once
    with Tape() as reading:
        batch, mix = next(steps)
    assert all(options["non_blocking"] for _, options in reading.crossings()) and reading.crossings()
    with Tape() as tape:
        trainer.step(0, 1, batch, mix)
    assert len(tape.done) > 50 and tape.crossings() == []
