"""The parts of a study: trainings and measurements, each a command in a folder that its own contents name.

A training's folder is named by a hash of its resolved configuration and of the method's settings, a measurement's file
by a hash of what is measured and of `NUMERICS`. So studies share trainings, a changed setting makes what depends on it
anew, a commit that changes no number makes nothing anew, and a part is done where its file is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analyses.engine.study import Flatness, Measured, Study, Variant
from analyses.executor import Command
from foundation.errors import InputError
from landscape.files.landscape_file import read_landscape
from landscape.schema import NUMERICS
from training.config import FREE_TO_CHANGE, Config
from training.methods.method import build_method
from training.optimizer import resolved

OF_A_SEED = ("seed", "data_seed")
OPTIONS = {
    "hessian": ("--top", "1", "--tol", "0.03", "--slq-vectors", "2", "--no-intervals"),
    "sharpness": ("--radii", "0.1", "--steps", "1", "--draws", "2"),
}
"""3 % of residual put eigenvalues within about 0.01 %; the witness is one adaptive step at ρ = 0.1."""


@dataclass(frozen=True)
class Part:
    """One command of a study.

    Attributes:
        command: The command.
        made: The file that it makes or adds to.
        analysis: The analysis that it adds; empty of a training.
        name: The measurement's name.
        may_refuse: Whether it may find that there is nothing to measure: two networks that no temperature brings to
            equal loss.
    """

    command: Command
    made: Path
    analysis: str = ""
    name: str = ""
    may_refuse: bool = False

    @property
    def refused(self) -> Path:
        """Where it stands that there was nothing to measure."""
        return self.made.with_name(f"{self.made.stem}.{self.analysis}.{self.name}.refused")

    @property
    def done(self) -> bool:
        """Whether its file is there, and holds it."""
        if self.refused.is_file():
            return True
        if not self.analysis or not self.made.is_file():
            return self.made.is_file()
        found = read_landscape(self.made, unfinished=False).get(self.analysis, self.name)
        return found is not None and found.complete


class Layout:
    """Where the parts of a study lie.

    Args:
        study: The study.
        out: The folder of all studies.

    Raises:
        InputError: A variant's settings are not usable.
    """

    def __init__(self, study: Study, out: Path) -> None:
        self.study, self._out = study, out
        self._variants = {variant.name: variant for variant in study.variants}
        self._keys = {variant.name: _training_key(study, variant) for variant in study.variants}
        self._measured_key = _hash([[vars(measured) for measured in self._plain()], OPTIONS, NUMERICS])

    def folder(self, variant: str, seed: int) -> Path:
        """The run folder of a variant and seed."""
        return self._out / "runs" / self._keys[variant] / f"seed-{seed}"

    def landscape(self, variant: str, seed: int) -> Path:
        """The file of its measurements."""
        return self.folder(variant, seed) / f"landscape-{self._measured_key}.h5"

    @property
    def measures_classes(self) -> bool:
        """Whether any class is measured by itself."""
        pairs = [pair.subset for pair in self.study.flatness_pairs()]
        return any(subset.startswith("class:") for subset in (*pairs, *(s for m in self._plain() for s in m.subsets)))

    def group(self, variant: str) -> str:
        """A pattern of the names that a page with several variants gives to the runs of one."""
        return f"*{self._keys[variant]}/seed-*"

    def parts(self, seeds: int, variants: Iterable[str]) -> list[Part]:
        """Every command of the study, seed by seed, none before one that it needs.

        Args:
            seeds: How many seeds, from 0.
            variants: Names of the variants that are wanted.

        Returns:
            The parts.
        """
        wanted = list(variants)
        found: dict[str, Part] = {}  # by the command's name: variants of one configuration share their parts
        last: dict[Path, str] = {}  # the command that last writes to each file: one at a time does

        def add(part: Part, *after: Path) -> None:
            if part.command.name not in found:
                needs = tuple(last[file] for file in after)
                found[part.command.name] = replace(part, command=replace(part.command, needs=needs))
                last[part.made] = part.command.name

        for seed in range(seeds):
            for name in wanted:
                add(self._training(name, seed))
                last.setdefault(self.landscape(name, seed), self._training_name(name, seed))
            for name in wanted:
                for measured in self._plain():
                    add(self._measurement(name, seed, measured), self.landscape(name, seed))
            for pair in self.study.flatness_pairs():
                if pair.base in wanted and pair.variant in wanted:
                    files = [self.landscape(name, seed) for name in (pair.base, pair.variant)]
                    for analysis in OPTIONS:
                        measured = Measured(analysis, pair.split, self._matched_subsets(pair))
                        add(self._measurement(pair.base, seed, measured, pair.variant), *files)
                        add(self._measurement(pair.variant, seed, measured, pair.base), *files[::-1])
        return list(found.values())

    def _plain(self) -> tuple[Measured, ...]:
        """What is measured at the networks' own losses; at least their losses, where some are to be met."""
        pairs = self.study.flatness_pairs()
        known = {(m.analysis, m.split) for m in self.study.measured}
        told = tuple(
            Measured("sharpness", split, tuple(sorted({pair.subset for pair in pairs if pair.split == split})))
            for split in sorted({pair.split for pair in pairs})
            if ("sharpness", split) not in known
        )
        return (*told, *self.study.measured)

    def _matched_subsets(self, pair: Flatness) -> tuple[str, ...]:
        same = (pair.base, pair.variant, pair.split)
        return tuple(p.subset for p in self.study.flatness_pairs() if (p.base, p.variant, p.split) == same)

    def _training_name(self, variant: str, seed: int) -> str:
        return f"{self._keys[variant]}-seed-{seed}"

    def _training(self, variant: str, seed: int) -> Part:
        folder = self.folder(variant, seed)
        settings = {**_settings(self.study, self._variants[variant]), "seed": seed, "data_seed": seed}
        arguments = (*_options(settings), "--out", str(folder))
        return Part(Command(self._training_name(variant, seed), "training.run", arguments), folder / "summary.json")

    def _measurement(self, variant: str, seed: int, measured: Measured, other: str | None = None) -> Part:
        """A measurement at the network's own losses, or at those of another variant's network of the same seed."""
        file, name = self.landscape(variant, seed), measured.split
        met: tuple[str, ...] = ()
        if other is not None:
            name = f"{name}-at-{self._keys[other]}-{_hash(measured.subsets)}"
            met = ("--match-loss", str(self.landscape(other, seed)))
        arguments = (
            "--ckpt", str(self.folder(variant, seed) / "checkpoint.pt"), "--split", measured.split,
            "--subsets", ",".join(measured.subsets), *OPTIONS[measured.analysis], *met,
            "--out", str(file), "--name", name,
        )  # fmt: skip
        called = f"{self._training_name(variant, seed)}-{measured.analysis}-{name}-{self._measured_key}"
        command = Command(called, f"landscape.{measured.analysis}", arguments)
        return Part(command, file, measured.analysis, name, may_refuse=other is not None)


def _settings(study: Study, variant: Variant) -> dict[str, Any]:
    settings = {"snapshots": 0, **study.shared, **variant.settings}
    return {"evaluate_every": settings.get("epochs", Config.epochs), **settings}


def _training_key(study: Study, variant: Variant) -> str:
    """A name that any change of what is trained changes: method, epochs and a hash of all settings but the seed."""
    settings = _settings(study, variant)
    unknown = [name for name in settings if name not in Config.__dataclass_fields__]
    if unknown:
        raise InputError(f"{variant.name} has the unknown setting {unknown[0]!r}: give fields of training.Config")
    config = resolved(Config(out=Path(), **settings))
    method = build_method(config.method, (3, 2, 1), **config.method_kwargs).record
    plain = {k: v for k, v in config.plain().items() if k not in FREE_TO_CHANGE and k not in OF_A_SEED}
    return f"{config.method}-{config.epochs}-{_hash([plain, method])}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()[:8]


def _options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as options of `training.run`."""
    words: list[str] = []
    for name, value in settings.items():
        words.append(f"--{name.replace('_', '-')}")
        if isinstance(value, Mapping):
            words += [f"{key}={json.dumps(item)}" for key, item in value.items()]
        else:
            words.append(str(value))
    return words
