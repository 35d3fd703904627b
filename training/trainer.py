"""A network being trained: its data on the device, its optimizer, one epoch and one step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from foundation.devices import fast_kernels
from foundation.errors import InputError, LandscapeError
from training.batches.loaders import Batch, open_loaders
from training.batches.mixing import Mixer
from training.batches.samplers import epoch_order
from training.checkpoint import load_body
from training.config import Config
from training.data import DataSet
from training.distributed import longest_shard, shard, share_buffers, world_size
from training.evaluate import evaluate
from training.methods import decoupling
from training.methods.balance import RunningShares
from training.methods.method import Method
from training.methods.objective import Outputs, TrainingProgress
from training.methods.optimizers.captured import CapturedStep, Record, cuda_recorder
from training.methods.optimizers.registry import build_stepper
from training.methods.phases import Phase, plan_phases
from training.models import Network, build_model
from training.models.registry import size_options
from training.models.tuning import tune
from training.optimizer import WarmingAverage, build_optimizer, optimization, resolved, restore_optimizer
from training.schedules import learning_rate_factor

DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


class LogitsAndFeatures(nn.Module):
    """A network whose forward pass gives features too: what losses may look at.

    Args:
        network: The network.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, channels, H, W) images to logits (B, C) and features (B, d)."""
        features = self.network.features(images)
        return self.network.classifier(features), features


class Trainer:
    """Everything that a step needs, on the device.

    Args:
        config: What to train.
        data: The data set.
        method: How to train.
        device: Where.
    """

    def __init__(self, config: Config, data: DataSet, method: Method, device: torch.device) -> None:
        self.config, self.data, self.method, self.device = resolved(config), data, method, device
        self.optimization = optimization(config)
        self.phases = plan_phases(method, data.class_counts, epochs=config.epochs)
        self.epochs = self.phases[-1].end
        dtype = DTYPES[config.precision]
        shape = data.train.pixels(torch.tensor([0])).shape
        kwargs: dict[str, Any] = {"in_channels": shape[1], "classes": len(data.class_names), "head": method.head}
        if method.scale is not None:
            kwargs["scale"] = method.scale
        kwargs |= size_options(config.model, int(shape[-1])) | config.model_kwargs
        self.model: dict[str, Any] = {"name": config.model, "kwargs": kwargs}
        torch.manual_seed(config.seed)
        if config.weights is None:
            network = build_model(config.model, **kwargs)
        else:
            tuning = {name: kwargs[name] for name in ("tuned", "rank") if name in kwargs}
            network = build_model(config.model, **{n: v for n, v in kwargs.items() if n not in tuning})
            load_body(network, config.weights)
            if tuning.get("tuned"):
                tune(network, tuning["tuned"], rank=tuning.get("rank"))
        network = network.to(device, dtype)
        self.network = network.to(memory_format=torch.channels_last) if config.channels_last else network
        splits = {"train": data.train, "validation": data.validation, "test": data.test}
        self.loaders = open_loaders(
            {name: split for name, split in splits.items() if len(split)},
            device,
            augment=config.augment or data.augment,
            workers=config.workers,
            dtype=dtype,
            channels_last=config.channels_last,
        )
        self.steps_per_epoch = -(-len(data.train) // config.batch_size)
        self.enter(self.phases[0])

    def enter(self, phase: Phase) -> None:
        """Makes the network ready for a phase: what is trained, by which optimizer.

        Args:
            phase: One of `phases`; later ones start from the weights of the one before.
        """
        self.phase = phase
        self.close()
        network = self.network
        if phase.stage is not None:
            network.load_state_dict(self.exported())  # the averaged weights, where there is an average
            decoupling.begin(network, phase.stage.name, anew=phase.stage.anew)
        on_gpu = self.device.type == "cuda"
        self.optimizer = build_optimizer(self.config, network, fused=on_gpu)
        forward: nn.Module = LogitsAndFeatures(network)
        if self.config.compile:
            forward.compile(dynamic=False)  # an epoch has two batch sizes at most, each worth its own kernels
        if world_size() > 1:
            forward = DistributedDataParallel(forward, [self.device] if on_gpu else None)
        self.forward = forward
        self.stepper = build_stepper(phase.method, self.optimizer, self.forward, clip=self.optimization.clip)
        one_pass = phase.method.optimizer is None and self.config.accumulate == 1 and world_size() == 1
        self.captured = self.capture(cuda_recorder()) if self.config.compile and on_gpu and one_pass else None
        running = phase.method.needs_class_shares
        self.running_shares = RunningShares(len(self.data.class_names), self.device) if running else None
        self.mixer = Mixer(phase.method.mixing, epochs=phase.epochs) if phase.method.mixing else None
        self.average = None
        if self.config.ema:
            self.average = WarmingAverage(network, self.config.ema)

    def capture(self, record: Record) -> CapturedStep:
        """Steps of the phase whose passes are recorded once; for steps of a single pass."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]

        def run(batch: Sequence[Tensor], share: Tensor | None, progress: TrainingProgress) -> Tensor:
            return self.objectives(batch, 1.0 if share is None else share, progress)[0]

        return CapturedStep(run, trained, self.optimizer, clip=self.optimization.clip, record=record)

    def close(self) -> None:
        """Ends the processes that read images; an epoch after this begins new ones."""
        for loader in self.loaders.values():
            loader.close()

    def epoch(self, epoch: int) -> dict[str, Any]:
        """One epoch and what came of it.

        Every random draw comes from generators seeded by the run's seed and the epoch, so that an epoch is the same
        whether or not the run was interrupted before it.

        Args:
            epoch: From 0, over all phases.

        Returns:
            The line for `metrics.jsonl`.

        Raises:
            LandscapeError: The objective is no longer finite.
        """
        started = time.monotonic()
        seed = self.config.seed * 1_000_003 + epoch
        torch.manual_seed(seed)
        if epoch == self.phase.end:
            self.enter(next(phase for phase in self.phases if phase.start == epoch))
        self.forward.train(self.phase.stage is None)  # a frozen backbone keeps its running statistics
        total = torch.zeros((), device=self.device)
        with fast_kernels(tf32=self.config.precision == "tf32"):
            for index, (batch, mix) in enumerate(self.batches(epoch, seed)):
                total += self.step(epoch, index, batch, mix)
        if self.running_shares is not None:
            self.running_shares.end_epoch()
        objective = float(total) / self.steps_per_epoch
        if objective - objective != 0:  # infinite or not a number
            raise LandscapeError(
                f"training diverged in epoch {epoch + 1}: the objective is {objective}; try a lower --lr than "
                f"{self.optimization.lr:g}"
            )
        if epoch + 1 == self.epochs:
            self.finish()
        trained = time.monotonic()
        often = (epoch + 1) % self.config.evaluate_every == 0 or epoch + 1 in {phase.end for phase in self.phases}
        scores = self.scores(everything=often)
        return {
            "epoch": epoch + 1,
            "objective": objective,
            "lr": self.optimizer.param_groups[0]["lr"],
            **scores,
            "seconds": {"train": round(trained - started, 3), "evaluate": round(time.monotonic() - trained, 3)},
        }

    def batches(self, epoch: int, seed: int) -> Iterator[tuple[Batch, tuple[Tensor, float] | None]]:
        """The epoch's batches, augmented and mixed; of several processes each gets its part.

        Args:
            epoch: From 0, over all phases.
            seed: The epoch's seed.

        Yields:
            Images and labels, and for mixed images the other labels with the share of the first ones.
        """
        labels, classes = self.data.train.labels, len(self.data.class_names)
        generator = torch.Generator().manual_seed(seed)
        local = epoch - self.phase.start
        progress = local / self.phase.epochs
        draws = [epoch_order(self.phase.sampler, labels, classes, progress=progress, generator=generator)]
        if self.mixer is not None and self.mixer.pastes(local):
            draws.append(epoch_order("class-balanced", labels, classes, progress=progress, generator=generator))
        parts = [[shard(part) for part in draw.tensor_split(self.steps_per_epoch)] for draw in draws]
        orders = [torch.cat(draws_of_step) for draws_of_step in zip(*parts, strict=True)]
        random = np.random.RandomState([self.config.seed, epoch])
        for (images, found), order in zip(self.loaders["train"].batches(orders, seed=seed), parts[0], strict=True):
            size, mix = len(order), None
            others = (images[size:], found[size:]) if len(draws) > 1 else None
            images, found = images[:size], found[:size]
            if self.mixer is not None:
                images, mix = self.mixer.mix(images, found, others, random)
            yield (images, found), mix

    def step(self, epoch: int, index: int, batch: Batch, mix: tuple[Tensor, float] | None = None) -> Tensor:
        """One optimizer step.

        Args:
            epoch: From 0, over all phases.
            index: The step within the epoch, from 0.
            batch: Images and labels, on the device.
            mix: For mixed images the other labels and the share of the first ones.

        Returns:
            The objective, on the device.
        """
        config, phase = self.config, self.phase
        local = epoch - phase.start
        here = local + index / self.steps_per_epoch
        warmup = self.optimization.warmup if phase.stage is None else 0.0
        middle = here + 0.5 / self.steps_per_epoch
        factor = learning_rate_factor(config.schedule, middle, epochs=phase.epochs, warmup=warmup)
        factor *= 1.0 if phase.stage is None else phase.stage.lr
        for group in self.optimizer.param_groups:
            group["lr"] = self.optimization.lr * factor * group.get("lr_factor", 1.0)
        shares = None
        if self.running_shares is not None:
            shares = self.running_shares.shares
            self.running_shares.count(batch[1], mix)
        progress = TrainingProgress(here / phase.epochs, local, phase.epochs, shares)
        share = 1.0 if mix is None else mix[1]
        longest = longest_shard(self.batch_size(index))
        pieces: list[tuple[Tensor, ...]] = [batch if mix is None else (*batch, mix[0])]
        if config.accumulate > 1:
            # As many pieces on every rank, whatever its share of the batch: each piece is a meeting of all ranks.
            count = min(config.accumulate, len(batch[1]))
            longest = -(-longest // count)
            pieces = list(zip(*(tensor.tensor_split(count) for tensor in pieces[0]), strict=True))

        def losses(*objectives: Callable[..., Tensor]) -> Iterator[tuple[Tensor, ...]]:
            for piece in pieces:
                part = len(piece[1]) / len(batch[1])
                yield tuple(value * part for value in self.objectives(piece, share, progress, longest, *objectives))

        if self.captured is not None:
            objective = self.captured.step(pieces[0], share, progress)
        else:
            objective = self.stepper.step(losses, progress=progress)
        if self.average is not None:
            self.average.update_parameters(self.network)
        return objective

    def objectives(
        self,
        piece: Sequence[Tensor],
        share: float | Tensor,
        progress: TrainingProgress,
        longest: int | None = None,
        *objectives: Callable[..., Tensor],
    ) -> tuple[Tensor, ...]:
        """Objectives at the present weights from one forward pass.

        Args:
            piece: Images and labels, and for mixed images the other labels.
            share: Of the first labels.
            progress: Where training stands.
            longest: See `Outputs`.
            *objectives: The phase's own when none is named.

        Returns:
            Their values.
        """
        images, labels, *others = piece
        with self.autocast():
            logits, features = self.forward(images)
        outputs = Outputs(logits, features, self.network.classifier.weight, longest)
        mix = (others[0], share) if others else None
        own = (self.phase.method.objective,)
        return tuple(objective(outputs, labels, progress=progress, mix=mix) for objective in objectives or own)

    def batch_size(self, index: int) -> int:
        """Images of a step of an epoch, on all ranks together; steps differ by one at most."""
        return len(self.data.train) // self.steps_per_epoch + (index < len(self.data.train) % self.steps_per_epoch)

    def finish(self) -> None:
        """What a method does to the trained classifier, without training."""
        for stage in self.method.stages:
            if stage.share == 0:
                self.network.load_state_dict(self.exported())
                if stage.name == "tau-norm":
                    decoupling.tau_normalize(self.network, **stage.kwargs)
                else:
                    decoupling.adjust_post_hoc(self.network, self.data.class_counts, **stage.kwargs)
                self.average = None

    @torch.no_grad()
    def scores(self, *, everything: bool) -> dict[str, Any]:
        """Loss and accuracy on the validation split, and on training and test images if `everything` is wanted."""
        network: nn.Module = self.network if self.average is None else self.average
        share_buffers(network)
        found: dict[str, Any] = {}
        for name in ("validation", "train", "test") if everything else ("validation",):
            if name in self.loaders:
                positions = shard(torch.arange(self.data.record["sizes"][name]))
                with self.autocast():
                    batches = self.loaders[name].evaluation(positions)
                    found[name] = evaluate(network, batches, self.data.class_counts)
        return found

    def test_scores(self, state: dict[str, Tensor]) -> dict[str, Any]:
        """Loss and accuracy on the test split of the run's network with other weights.

        Args:
            state: As `exported` returns it.

        Returns:
            See `evaluate`.
        """
        network = build_model(self.model["name"], **self.model["kwargs"]).to(self.device, DTYPES[self.config.precision])
        network.load_state_dict(state)
        if self.config.channels_last:
            network = network.to(memory_format=torch.channels_last)
        positions = shard(torch.arange(self.data.record["sizes"]["test"]))
        with self.autocast():
            return evaluate(network, self.loaders["test"].evaluation(positions), self.data.class_counts)

    def exported(self) -> dict[str, Tensor]:
        """The weights and buffers of the network as it is evaluated, in the form of `model`, on the CPU."""
        module: nn.Module = self.network if self.average is None else self.average.module
        state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
        return decoupling.folded(state)

    def state(self) -> dict[str, Any]:
        """What continuing after this epoch needs."""
        state: dict[str, Any] = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if self.running_shares is not None:
            state["class_shares"] = self.running_shares.values
        return state

    def restore(self, state: dict[str, Any], epoch: int) -> None:
        """Continues from what `state` returned.

        Args:
            state: What it returned.
            epoch: How many epochs were done by then.

        Raises:
            InputError: It is of another network or of more epochs.
        """
        if epoch > self.epochs:
            raise InputError(f"resume.pt is of epoch {epoch}, the run has {self.epochs}: name another --out")
        for phase in self.phases[1:]:
            if phase.start < epoch:
                self.enter(phase)
        try:
            self.network.load_state_dict(state["network"])
            if self.average is not None and "average" in state:
                self.average.load_state_dict(state["average"])
        except RuntimeError:
            raise InputError("resume.pt holds the weights of another network: name another --out") from None
        restore_optimizer(self.optimizer, state["optimizer"])
        if self.running_shares is not None:
            shares = state.get("class_shares")
            if shares is None or shares.shape != (len(self.data.class_names),):
                raise InputError("resume.pt holds no class_shares of this run's classes: name another --out")
            self.running_shares.values = shares

    def autocast(self) -> torch.autocast:
        """Mixed precision when the configuration asks for bfloat16."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")
