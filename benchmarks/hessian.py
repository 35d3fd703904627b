"""`python -m benchmarks.hessian`: what the curvature of every class costs beside PyHessian, curvlinops and eigenthings.

All contestants measure the same trained network on the same samples in one process, class by class, and take turns;
eigenvalues and densities are held against float64 references of the same Hessians, which are kept beside the
checkpoint. Peers get each class as one batch where that is their fastest way. The last line is JSON; ratios above 1
mean that we are faster. A table says how the cost grows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import torch

from analyses.steps import step
from benchmarks.document import rewrite_block
from benchmarks.hessian_contest import Bundle, Class, Contest, classes_of
from benchmarks.products import growth, product_over_floor
from benchmarks.routes import default_command, jet_vs_nested
from foundation.command import Parser, run
from foundation.devices import describe_device
from landscape.execution.second_order import math_attention
from landscape.files.checkpoint import open_checkpoint
from landscape.subject.subject import Subject

NETWORKS: dict[str, tuple[str, ...]] = {
    "cnn": ("--model", "cnn"),
    "resnet32": ("--model", "resnet32"),
    "gelu_cnn": ("--model", "cnn", "--model-kwargs", "activation=gelu"),
}
"""How training is told of each."""


def checkpoint(folder: Path, model: str, epochs: int) -> Subject:
    """A trained network on its training samples, trained here unless the folder has it.

    Args:
        folder: Where runs are kept.
        model: Of `NETWORKS`.
        epochs: Of the training.

    Returns:
        The subject.
    """
    out = folder / model
    step(
        "training.run", "--data", "fashion-mini", "--imbalance", 100, "--method", "ce", *NETWORKS[model],
        "--epochs", epochs, "--seed", 0, "--device", "cpu", "--out", out,
    )  # fmt: skip
    return open_checkpoint(out / "checkpoint.pt").subject


def bundles(contest: Contest, repeats: int, driven: int, keep: Callable[[Sequence[str]], None]) -> float:
    """The full bundle of every class.

    Args:
        contest: The contest.
        repeats: Turns.
        driven: Of how many of the rarest classes PyHessian is also driven to our accuracy.
        keep: Called with the table's lines after each turn.

    Returns:
        How many times faster we are than PyHessian, in the reading that is slower for us.
    """
    head = [
        "| bundle | classes | turns | s | worst top-5 error | trace ± 95 % | density |",
        "|---|---|---|---|---|---|---|",
    ]
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append([contest.ours(c) for c in contest.classes])
        theirs.append([contest.pyhessian(c) for c in contest.classes])
        rows = [_row("ours", ours, contest.classes), _row("PyHessian, defaults", theirs, contest.classes)]
        keep([*head, *rows])
    ratio = _median(theirs) / _median(ours)
    if driven:
        rarest = contest.classes[-driven:]
        few = [turn[-driven:] for turn in ours]
        pushed = [[contest.pyhessian(c, iterations=1000, tol=1e-6) for c in rarest]]
        rows += [
            _row(f"ours, {driven} rarest", few, rarest),
            _row(f"PyHessian driven, {driven} rarest", pushed, rarest),
        ]
        keep([*head, *rows])
        ratio = min(ratio, _median(pushed) / _median(few))
    return ratio


def _median(turns: list[list[Bundle]]) -> float:
    return statistics.median(sum(b.seconds for b in turn) for turn in turns)


def _row(name: str, turns: list[list[Bundle]], classes: Sequence[Class]) -> str:
    last = turns[-1]
    error = max(b.error(c) for b, c in zip(last, classes, strict=True))
    width = max(b.half_width for b in last)
    distance = max(b.distance(c) for b, c in zip(last, classes, strict=True))
    trace = f"{100 * width:.0f} %" if width else "exact"
    cells = (name, len(classes), len(turns), f"{_median(turns):.1f}", f"{error:.1e}", trace)
    return f"| {' | '.join(str(cell) for cell in cells)} | {distance:.1e} |"


def compare(
    classes: Sequence[Class],
    repeats: int,
    ours: Callable[[Class], tuple[float, float]],
    theirs: Callable[[Class], tuple[float, float]],
) -> tuple[float, float, float, float, float]:
    """Two contestants in turns over all classes: their seconds, their errors, and the ratio of the seconds."""
    pairs = [[(ours(c), theirs(c)) for c in classes] for _ in range(repeats)]
    mine = statistics.median(sum(a[0] for a, _ in turn) for turn in pairs)
    other = statistics.median(sum(b[0] for _, b in turn) for turn in pairs)
    errors = [max(pair[side][1] for turn in pairs for pair in turn) for side in (0, 1)]
    return mine, other, errors[0], errors[1], other / mine


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the benchmark."""
    run(_command, build_parser(), argv)


def _keep(part: str, lines: Sequence[str]) -> None:
    """Writes and prints what is measured so far: an interrupted run leaves what it had."""
    peers = ("torch", "pyhessian", "curvlinops-for-pytorch", "hessian-eigenthings")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in peers)
    made = f"{describe_device(torch.device('cpu'))}, {versions}; medians over turns."
    rewrite_block(f"hessian-{part}", "\n".join([*lines, "", made]))
    print("\n".join(lines), flush=True)


def _products(arguments: argparse.Namespace) -> dict[str, float]:
    seconds, gradient, ratio = product_over_floor(arguments.repeats)
    one = (
        f"One product of ResNet-32 on 128 images: {seconds:.2f} s; a gradient of the network as it is: "
        f"{gradient:.2f} s; product / two gradients {ratio:.2f}."
    )
    _keep("products", [one, "", *growth(arguments.repeats)])
    return {"product_over_floor": ratio}


def _ends(arguments: argparse.Namespace) -> dict[str, float]:
    contest, ratios = _contest(arguments, "cnn", arguments.epochs, arguments.classes), dict[str, float]()
    lines = ["| | contestant | peer | error | peer's error | times faster |", "|---|---|---|---|---|---|"]
    for label, key, ours, theirs in (
        ("top 1", "top1_vs_pyhessian", lambda c: contest.our_ends(c, 1, 0, 1e-2), contest.peer_top),
        ("both ends", "ends_vs_curvlinops", lambda c: contest.our_ends(c, 1, 1, 1e-3), contest.curvlinops_ends),
        ("both ends", "ends_vs_eigenthings", lambda c: contest.our_ends(c, 1, 1, 1e-3), contest.eigenthings_ends),
    ):
        taking_part = contest.classes if key.startswith("top") else contest.classes[2::3]
        a, b, error, other, ratios[key] = compare(taking_part, arguments.repeats, ours, theirs)
        asked = f"{label}, {len(taking_part)} classes"
        peer = key.split("_vs_")[1]
        lines.append(f"| {asked} | {a:.1f} s | {peer} {b:.1f} s | {error:.0e} | {other:.0e} | {ratios[key]:.2f} |")
    _keep("ends", lines)
    return ratios


def _bundles(arguments: argparse.Namespace) -> dict[str, float]:
    contest = _contest(arguments, "cnn", arguments.epochs, arguments.classes)
    ratio = bundles(contest, arguments.repeats, arguments.driven, partial(_keep, "bundles"))
    return {"bundle_vs_pyhessian": ratio}


def _bundle_of(model: str, classes: int, driven: int, arguments: argparse.Namespace) -> dict[str, float]:
    """The bundle of the rarest classes of another network."""
    contest = _contest(arguments, model, arguments.epochs, min(classes, arguments.classes))
    ratio = bundles(contest, arguments.repeats, min(driven, arguments.driven), partial(_keep, model))
    return {"bundle_vs_pyhessian" if model == "resnet32" else f"{model}_bundle_vs_pyhessian": ratio}


def _command_row(arguments: argparse.Namespace) -> dict[str, float]:
    subject = checkpoint(arguments.folder, "cnn", arguments.epochs)
    ours, plain, difference = default_command(subject)
    line = (
        f"All {len(subject.subsets)} subsets at the command's defaults, values on fresh samples among them: "
        f"{ours:.0f} s; by the plain routes {plain:.0f} s; largest difference of a top eigenvalue {difference:.0e}."
    )
    _keep("command", [line])
    return {"default_command": plain / ours}


def _jets(arguments: argparse.Namespace) -> dict[str, float]:
    ratios = [jet_vs_nested(checkpoint(arguments.folder, name, arguments.epochs), arguments.repeats) for name in JETS]
    head = [
        "| vᵀH_i v of 64 samples, 8 directions | Taylor passes, s | nested forward mode, s | times faster |",
        "|---" * 4 + "|",
    ]
    rows = [f"| {name} | {a:.2f} | {b:.2f} | {b / a:.2f} |" for name, (a, b) in zip(JETS, ratios, strict=True)]
    _keep("jets", [*head, *rows])
    return {"jet_vs_nested": min(b / a for a, b in ratios)}


def _contest(arguments: argparse.Namespace, model: str, epochs: int, classes: int) -> Contest:
    """The rarest classes of a trained network."""
    subject = checkpoint(arguments.folder, model, epochs)
    return Contest(subject, [s.name for s in classes_of(subject)][-classes:], arguments.folder / model)


JETS = ("cnn", "gelu_cnn")
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "products": _products,
    "ends": _ends,
    "bundles": _bundles,
    "resnet32": partial(_bundle_of, "resnet32", 6, 1),
    "gelu_cnn": partial(_bundle_of, "gelu_cnn", 4, 1),
    "command": _command_row,
    "jets": _jets,
}


def _command(arguments: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph")
    ratios = dict[str, float]()
    with math_attention():
        for part in arguments.parts:
            for key, ratio in PARTS[part](arguments).items():
                ratios[key] = min(ratio, ratios.get(key, ratio))  # of two readings the one that is slower for us
    print(json.dumps({key: round(ratios[key], 3) for key in sorted(ratios)}))


def build_parser() -> Parser:
    """The benchmark's options."""
    parser = Parser("benchmarks.hessian", __doc__.splitlines()[0] if __doc__ else "", "--repeats 3")
    parser.add_argument("--repeats", type=int, default=3, help="turns; medians are reported")
    parser.add_argument("--classes", type=int, default=10, help="how many of the rarest classes take part")
    parser.add_argument("--driven", type=int, default=2, help="rarest classes for PyHessian driven to our accuracy")
    parser.add_argument("--epochs", type=int, default=30, help="training of the networks")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what is measured")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark"), help="where the checkpoints are kept")
    return parser


if __name__ == "__main__":
    main()
