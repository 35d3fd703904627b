"""The registry of methods: names like `ldam-drw+bgp+sam`, put together from parts.

A name is a sum of parts, `base[+drw][+bgp][+optimizer]`, in any order: one main loss (cross-entropy unless named),
class weights, penalties, one perturbing optimizer, one mixing, one sampler, one later stage. A `-drw` at the end of a
part is `+drw`, and a few usual names stand for sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from foundation.errors import InputError, one_of
from training.methods.losses import bgp
from training.methods.objective import (
    Outputs,
    PerClassTensor,
    SampleTerm,
    Term,
    TrainingProgress,
    check_counts,
    objective_value,
)
from training.methods.parts import Head, Loss, Mixing, Perturbation, Sampling, Stage, Transform, Weights
from training.methods.registry import FORMER_SETTINGS, LOSSES, PARTS, SHORTHANDS


@dataclass(frozen=True)
class Method:
    """How a network is trained: what it minimizes, and with which sampler, mixing, optimizer and later stages.

    Attributes:
        terms: The parts of the objective, the main loss first.
        class_counts: Training samples of each class, (C,).
        head: The classifier the method is made for.
        scale: The scale of a cosine classifier's logits, None with a linear one.
        sampler: None, `"class-balanced"`, `"square-root"` or `"progressive"`.
        mixing: None or how images are mixed.
        optimizer: None or the perturbing optimizer (`training.methods.optimizers.registry.build_stepper` makes it).
        stages: What follows the main training.
        record: `{"name", "kwargs", "note"}` in plain types; `build_method(name, counts, **kwargs)` makes it again.
        class_factors: A factor for each class's share in the objective, see `class_weighted`.
    """

    terms: tuple[Term, ...]
    class_counts: tuple[int, ...]
    head: Head
    scale: float | None
    sampler: str | None
    mixing: Mixing | None
    optimizer: Perturbation | None
    stages: tuple[Stage, ...]
    record: dict[str, Any]
    class_factors: PerClassTensor | None = None

    def objective(
        self,
        outputs: Outputs,
        labels: Tensor,
        *,
        progress: TrainingProgress,
        mix: tuple[Tensor, float | Tensor] | None = None,
    ) -> Tensor:
        """The objective of a batch, the number to call `backward` on.

        Computed in float32 or wider, whatever autocast says. In a process group it is the objective of the global
        batch, the same on every rank; all ranks call it together, and with gradients averaged over ranks (as DDP does)
        the step is exactly the single-process one.

        Args:
            outputs: What the network says about the batch.
            labels: (B,) int64.
            progress: Where training stands.
            mix: For mixed images the other labels (B,) and the share of the first ones: each label's objective,
                penalties included, counts by its share.

        Returns:
            A scalar.
        """
        with torch.autocast(outputs.logits.device.type, enabled=False):
            wide = outputs.upcast()
            value = objective_value(self.terms, wide, labels, progress, class_factors=self.class_factors)
            if mix is None:
                return value
            other, share = mix
            return share * value + (1 - share) * objective_value(
                self.terms, wide, other, progress, class_factors=self.class_factors
            )

    @property
    def needs_class_shares(self) -> bool:
        """Whether a term weighs classes by their shares in the last epoch."""
        return any(isinstance(term, SampleTerm) and term.class_weights == "running" for term in self.terms)

    def class_balanced(self) -> Method:
        """The same with another objective: the mean over the classes present of the class means of the main loss."""
        main = self.terms[0]
        assert isinstance(main, SampleTerm)
        return replace(self, terms=(replace(main, class_weights="batch"),))

    def class_weighted(self, factors: Sequence[float] | Tensor) -> Method:
        """The same with each sample's share in the objective times a factor of its class, denominators left alone.

        Args:
            factors: (C,); 1 for the tail classes and 0 for the others gives the tail's part of the objective.

        Returns:
            The method.

        Raises:
            InputError: A term has no per-sample shares.
        """
        for term in self.terms:
            if not isinstance(term, SampleTerm):
                raise InputError(
                    f"{term.name} cannot be split by class, as {self.record['name']!r} asks: use bgp's logit member"
                )
        return replace(self, class_factors=PerClassTensor(factors))


def build_method(name: str, class_counts: Sequence[int], **kwargs: Any) -> Method:
    """Makes a method from its name.

    Args:
        name: A sum of parts such as `"ldam-drw+bgp"`.
        class_counts: Training samples of each class, (C,), each at least 1.
        **kwargs: Settings of the parts; `part.setting` (`**{"focal.gamma": 2.0}`) where two parts share a name.

    Returns:
        The method.

    Raises:
        InputError: An unknown part, setting or value, parts that exclude each other, or a class without samples.
    """
    counts = check_counts(class_counts)
    names = _parse(name)
    settings = _resolve(names, kwargs)
    pieces = {part: PARTS[part].value(counts, **settings[part]) for part in names}

    def only(kind: type[Any], what: str) -> Any:
        found = {part: piece for part, piece in pieces.items() if isinstance(piece, kind)}
        if len(found) > 1:
            raise InputError(f"method {name!r} has more than one {what} ({', '.join(found)}): keep one of them")
        return next(iter(found.values()), None)

    loss: Loss = only(Loss, "main loss")
    transform: Transform | None = only(Transform, "change of the main loss")
    if transform is not None:
        loss = transform.apply(loss)
    weights: Weights | None = only(Weights, "class weighting")
    sampling: Sampling | None = only(Sampling, "sampler")
    main = SampleTerm(loss.losses, weights.at if weights else lambda progress: None, reads=loss.reads)
    later = [stage for stage in (transform and transform.stage, only(Stage, "later stage")) if stage]
    return Method(
        terms=(main, *(piece for piece in pieces.values() if isinstance(piece, Term))),
        class_counts=counts,
        head=loss.head,
        scale=loss.scale,
        sampler=sampling.name if sampling else None,
        mixing=only(Mixing, "mixing"),
        optimizer=only(Perturbation, "perturbing optimizer"),
        stages=tuple(later),
        record={
            "name": name,
            "kwargs": {f"{part}.{key}": value for part in names for key, value in settings[part].items()},
            "note": f"bgp: {bgp.note(settings['bgp'])}" if "bgp" in names else "",
        },
    )


def _parse(name: str) -> tuple[str, ...]:
    """The parts of a name, cross-entropy first if no main loss is named."""
    parts: list[str] = []
    for word in name.split("+"):
        plain = word.removesuffix("-drw")
        parts += SHORTHANDS.get(plain, plain).split("+")
        parts += ["drw"] if plain != word else []
    for part in parts:
        if part not in PARTS:
            raise one_of("method", part, {*PARTS, *SHORTHANDS})
    if not any(part in LOSSES for part in parts):
        parts.insert(0, "ce")
    return tuple(dict.fromkeys(parts))


def _resolve(names: Sequence[str], given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every part's settings, defaults filled in."""
    settings = {part: dict(PARTS[part].defaults) for part in names}
    for key, value in given.items():
        part, _, setting = key.rpartition(".")
        setting = FORMER_SETTINGS.get(setting, setting)
        owners = [p for p in names if setting in settings[p] and part in ("", p)]
        if not owners:
            known = ", ".join(f"{p}.{s}" for p in names for s in settings[p]) or "none"
            raise InputError(f"method {'+'.join(names)!r} has no setting {key!r}: it knows {known}")
        if len(owners) > 1:
            raise InputError(f"setting {key!r} is known to {' and '.join(owners)}: write {owners[0]}.{setting}")
        settings[owners[0]][setting] = _checked(f"{owners[0]}.{setting}", settings[owners[0]][setting], value)
    if "bgp" in settings:
        settings["bgp"] = bgp.complete(settings["bgp"])
    return settings


def _checked(setting: str, default: Any, value: Any) -> Any:
    """The value, if it is of the kind its default is of."""
    if value is None and default is None:
        return None
    if isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        fits, wanted = isinstance(value, str), "a word"
    elif setting.endswith(".rho"):
        fits = _is_size(value) or _are_steps(value)
        wanted = "a number of at least 0, or steps [[from, number], ...] that begin at 0"
    else:
        fits, wanted = _is_size(value), "a number of at least 0"
    if not fits:
        raise InputError(f"setting {setting} is {value!r}: give {wanted}")
    return value


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _are_steps(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in value):
        return False
    starts = [pair[0] for pair in value]
    return all(_is_size(n) for pair in value for n in pair) and starts[:1] == [0] and starts == sorted(starts)
