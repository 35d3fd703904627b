"""`python -m benchmarks.surface`: what a point of a surface costs beside peers, and what refinement saves.

Speed: ResNet-32 with random weights on random images of CIFAR-10's shape, ten classes of a long tail; the contestants
take turns, so that a slow moment of the machine falls on all of them, and a ratio is the median over turns. Refinement:
three checkpoints trained here, every cell of their surfaces measured, then refined as the command would.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from analyses.steps import step
from benchmarks.document import rewrite_block
from foundation.command import Parser, run
from foundation.devices import describe_device
from landscape.execution.bn_folding import FoldedNetwork
from landscape.execution.evaluate import Evaluator
from landscape.execution.layout import channels_last
from landscape.execution.thread_pool import ThreadPool
from landscape.files.landscape_file import read_landscape
from landscape.schema import MEASURED, TODO
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from landscape.surface.plane import random_plane
from landscape.surface.refinement import Refinement
from training.models import build_model

COUNTS = (400, 240, 143, 85, 51, 31, 18, 11, 7, 4)  # imbalance 100
PEER_STEPS = 2  # a side: four points of the peer a turn
WIDE = 256  # channels of a convolution that does nothing but multiply: faster here than any matrix product
REPEATS = 16
CHUNKS = (25, 50, 100, 250, 500, sum(COUNTS))
METHODS = ("ce", "bgp", "ldam-drw")
TOLERANCE = 0.01
LOG_TOLERANCE = 0.02


@dataclass(frozen=True)
class Speed:
    """Seconds of one point, turn by turn.

    Attributes:
        chunk: The plain evaluation's best chunk.
        plain: `model(x)` in NCHW chunks of that size under inference mode, total loss.
        total: Our forward pass, total loss only.
        ours: Our point with every output: weights placed, all subsets' loss and accuracy.
        peer: loss-landscapes, total loss.
        peer_classes: loss-landscapes, ten surfaces, each class on its own samples.
        arithmetic: As many multiplications as one point needs, at the rate of a wide convolution.
    """

    chunk: int
    plain: list[float]
    total: list[float]
    ours: list[float]
    peer: list[float]
    peer_classes: list[float]
    arithmetic: list[float]

    def ratio(self, one: str, other: str) -> float:
        """The median over turns of one contestant's time over another's."""
        return float(np.median(np.array(getattr(self, one)) / np.array(getattr(self, other))))


def measure_speed(turns: int) -> Speed:
    """Lets the contestants take turns.

    Args:
        turns: How often each is timed.

    Returns:
        Their times.
    """
    network, inputs, labels = _contest()
    subject = Subject(network, TensorSamples(inputs, labels), train_counts=COUNTS)
    evaluator, plane = Evaluator(subject), random_plane(subject)
    folded, packed = FoldedNetwork(network), channels_last(inputs)
    workers = ThreadPool(torch.get_num_threads())  # as the evaluator has them

    def plain(chunk: int) -> None:
        with torch.inference_mode():
            for x, y in zip(torch.split(inputs, chunk), torch.split(labels, chunk), strict=True):
                _total(network(x), y)

    def chunk_total(part: tuple[Tensor, Tensor]) -> float:
        with torch.inference_mode():
            return _total(folded(part[0]), part[1])

    def total() -> None:
        folded.refold()
        size = evaluator.chunk
        sum(workers.map(chunk_total, zip(torch.split(packed, size), torch.split(labels, size), strict=True)))

    def ours() -> None:
        evaluator.at(plane.at(0.1, -0.2))

    def peer_classes() -> float:
        return sum(_peer_seconds(network, inputs[labels == c], labels[labels == c]) for c in range(len(COUNTS)))

    wide = nn.Conv2d(WIDE, WIDE, 3, padding=1, bias=False).requires_grad_(False)
    images = channels_last(torch.randn(8, WIDE, 14, 14))
    each = multiplications(wide, images[:1]) * len(images)
    share = multiplications(network, inputs[:1]) * len(inputs) / each  # of a point, in wide convolutions

    def arithmetic() -> None:
        list(workers.map(lambda _: wide(images), range(REPEATS)))

    chunk = min(CHUNKS, key=lambda size: min(_seconds(lambda: plain(size)) for _ in range(3)))
    contestants: dict[str, Callable[[], float]] = {
        "plain": lambda: _seconds(lambda: plain(chunk)),
        "total": lambda: _seconds(total),
        "ours": lambda: _seconds(ours),
        "peer": lambda: _peer_seconds(network, inputs, labels),
        "peer_classes": peer_classes,
        "arithmetic": lambda: _seconds(arithmetic) * share / REPEATS,
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + 1):  # one to warm up
        names = list(contestants)
        for name in names if turn % 2 else reversed(names):
            seconds = contestants[name]()
            if turn:
                times[name].append(seconds)
    return Speed(chunk, **times)


def multiplications(network: nn.Module, image: Tensor) -> int:
    """How many multiplications the convolutions need for one image, those with padding left out."""
    count = 0

    def watch(layer: nn.Module, arguments: tuple[Tensor, ...], output: object) -> None:
        nonlocal count
        assert isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str)
        ones = torch.ones(1, 1, *arguments[0].shape[2:]), torch.ones(1, 1, *layer.kernel_size)
        inside = functional.conv2d(*ones, stride=layer.stride, padding=layer.padding).sum()
        count += int(inside) * layer.in_channels * layer.out_channels // layer.groups

    hooks = [layer.register_forward_hook(watch) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with torch.inference_mode():
        network(image)
    for hook in hooks:
        hook.remove()
    return count


def _peer_seconds(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Seconds of a loss-landscapes point, from the end of one evaluation to the end of the next: no set-up."""
    import loss_landscapes  # needed only where it is timed
    import loss_landscapes.metrics

    ends: list[float] = []

    class Timed(loss_landscapes.metrics.Loss):  # type: ignore[misc]
        def __call__(self, wrapper: object) -> float:
            loss = float(super().__call__(wrapper))
            ends.append(time.perf_counter())
            return loss

    # 3.0.6 cannot normalize filters where one is zero; normalized or not, a point costs the same.
    metric = Timed(nn.CrossEntropyLoss(), inputs, labels)
    loss_landscapes.random_plane(network, metric, steps=PEER_STEPS, normalization=None, deepcopy_model=True)
    return (ends[-1] - ends[0]) / (len(ends) - 1)


@dataclass(frozen=True)
class Saved:
    """What refinement saves on one checkpoint's surface, and what it costs in truth.

    Attributes:
        fraction: Share of the cells that were evaluated.
        within: Smallest share over all subsets of the other cells within 1 % of the range and 0.02 in log(1 + loss).
        covered: Smallest share over all subsets of the other cells whose stated error covers the true one.
        inflated: Largest ratio over all subsets of the 95th percentile of what is stated to that of the true errors.
    """

    fraction: float
    within: float
    covered: float
    inflated: float


def refine(loss: np.ndarray) -> Saved:
    """Refines a surface all of whose cells are known.

    Args:
        loss: (S, B, A).

    Returns:
        What it saves.
    """
    refinement = Refinement(loss.shape[1:], TOLERANCE)
    seen, status = np.full_like(loss, np.nan), np.full(loss.shape[1:], TODO, dtype=np.int8)
    wanted = refinement.start()
    while wanted:
        rows, columns = np.array(wanted).T
        seen[:, rows, columns], status[rows, columns] = loss[:, rows, columns], MEASURED
        wanted = refinement.more(seen, status)
    found = refinement.between({"loss": seen}, status)
    between = status == TODO
    filled, stated = found.values["loss"], found.error[:, between]
    wrong = np.abs(filled - loss)[:, between]
    share = wrong / np.ptp(loss, axis=(1, 2))[:, None]
    log = np.abs(np.log1p(filled) - np.log1p(loss))[:, between]
    within = ((share <= TOLERANCE) & (log <= LOG_TOLERANCE)).mean(axis=1)
    covered = (wrong <= stated).mean(axis=1)
    inflated = np.quantile(stated, 0.95, axis=1) / np.quantile(wrong, 0.95, axis=1)
    return Saved(float((~between).mean()), float(within.min()), float(covered.min()), float(inflated.max()))


def measure_saving(folder: Path, *, epochs: int, points: int, samples: int) -> dict[str, Saved]:
    """Trains three checkpoints, measures every cell of their surfaces and refines them.

    Args:
        folder: Where runs are kept; what is there already is not made again.
        epochs: Of each training.
        points: Cells along each axis.
        samples: At most so many of each class are evaluated.

    Returns:
        By method.
    """
    saved = {}
    for method in METHODS:
        out = folder / method
        step(
            "training.run", "--data", "fashion-mini", "--imbalance", 100, "--method", method, "--model", "cnn",
            "--epochs", epochs, "--seed", 0, "--out", out,
        )  # fmt: skip
        step(
            "landscape.surface", "--ckpt", out / "checkpoint.pt", "--points", points, "--samples-per-class", samples,
            "--exact", "--name", "exact",
        )  # fmt: skip
        exact = read_landscape(out / "landscape.h5").get("surface", "exact")
        assert exact is not None
        saved[method] = refine(exact.data["loss"])
    return saved


def _contest() -> tuple[nn.Module, Tensor, Tensor]:
    """ResNet-32 whose normalization layers have seen something, and images in a shuffled order."""
    torch.manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))
    labels = labels[torch.randperm(len(labels))]
    inputs = torch.randn(len(labels), 3, 32, 32)
    network = build_model("resnet32", in_channels=3, classes=len(COUNTS))
    with torch.no_grad():
        network.train()(inputs[:256])
    return network.eval(), inputs, labels


def _total(logits: Tensor, labels: Tensor) -> float:
    return float(functional.cross_entropy(logits, labels, reduction="sum"))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    speed = measure_speed(arguments.turns)
    saved = measure_saving(
        arguments.out, epochs=arguments.epochs, points=arguments.points, samples=arguments.samples_per_class
    )
    result = {
        "point_over_plain": speed.ratio("ours", "plain"),
        "one_vs_loss_landscapes": speed.ratio("peer", "ours"),
        "ten_vs_loss_landscapes": speed.ratio("peer_classes", "ours"),
        "per_class_overhead": speed.ratio("ours", "total") - 1,
        "adaptive_fraction": max(s.fraction for s in saved.values()),
        "adaptive_within": min(s.within for s in saved.values()),
        "stated_covers": min(s.covered for s in saved.values()),
        "stated_over_true": max(s.inflated for s in saved.values()),
    }
    lines = [
        f"{describe_device(torch.device('cpu'))}, ResNet-32, {sum(COUNTS):,} images, {arguments.turns} turns, medians:",
        "",
        "| one point of a surface | ms |",
        "|---|---|",
    ]
    for name, text in (
        ("ours", "ours: every class, group, `all` and `balanced`, loss and accuracy"),
        ("total", "the same forward pass, total loss only"),
        ("plain", f"plain `model(x)`, NCHW, its best chunk ({speed.chunk}), inference mode, total loss"),
        ("peer", "loss-landscapes 3.0.6, total loss"),
        ("peer_classes", "loss-landscapes 3.0.6, ten classes, each on its own samples"),
        ("arithmetic", f"the multiplications of a point alone, at the rate of a convolution of {WIDE} channels"),
    ):
        lines.append(f"| {text} | {1e3 * statistics.median(getattr(speed, name)):.0f} |")
    lines += [
        "",
        f"Medians of the ratios of one turn: ours takes {result['point_over_plain']:.2f} times as long as the plain "
        f"one; loss-landscapes takes {result['one_vs_loss_landscapes']:.2f} times as long as ours for one surface "
        f"and {result['ten_vs_loss_landscapes']:.2f} times for the ten. The multiplications alone take "
        f"{speed.ratio('arithmetic', 'ours'):.2f} of our time: with a convolution at that speed and no other cost the "
        f"ten would be at {speed.ratio('peer_classes', 'arithmetic'):.2f}. A refined surface needs "
        f"{100 * result['adaptive_fraction']:.0f} % of these points or fewer.",
        "",
        f"Refinement of {arguments.points} × {arguments.points} surfaces (fashion-mini, imbalance 100, up to "
        f"{arguments.samples_per_class} samples a class, tolerance {TOLERANCE:g}); each share is of the worst class:",
        "",
        "| checkpoint | evaluated | others within 1 % of the range and 0.02 in log(1 + loss) | stated error holds | "
        "95th percentiles, stated over true |",
        "|---|---|---|---|---|",
    ]
    for name, s in saved.items():
        lines.append(
            f"| {name} | {100 * s.fraction:.1f} % | {100 * s.within:.1f} % | {100 * s.covered:.1f} % "
            f"| {s.inflated:.2f} |"
        )
    text = "\n".join(lines)
    rewrite_block("surface", text)
    print(text)
    print(json.dumps({name: round(value, 4) for name, value in result.items()}))


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command."""
    parser = Parser("benchmarks.surface", "Measures what a point of a surface costs.", "--turns 7")
    parser.add_argument("--turns", type=int, default=7, help="how often each contestant is timed")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--points", type=int, default=51, help="cells along each axis of the refined surfaces")
    parser.add_argument("--samples-per-class", type=int, default=50, help="samples of each class in them")
    parser.add_argument("--epochs", type=int, default=30, help="of each training")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark/surface"), help="where runs are kept")
    run(_main, parser, argv)


if __name__ == "__main__":
    main()
