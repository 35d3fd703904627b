"""A tracker in trainers of others, which are imported when they are asked for."""

from __future__ import annotations

from typing import Any

from foundation.errors import InputError
from landscape.recording.tracker import Tracker


def lightning_callback(tracker: Tracker, network: str = "") -> Any:
    """A callback for Lightning's `Trainer`.

    Args:
        tracker: What measures.
        network: The attribute of the module that is the network, such as `"model"`; by default the module itself.

    Returns:
        A `lightning.pytorch.Callback`.

    Raises:
        InputError: Lightning is not installed.
    """
    try:
        from pytorch_lightning import Callback
    except ImportError:
        try:
            from lightning.pytorch import Callback
        except ImportError:
            raise InputError("a callback for Lightning takes the package lightning: install it") from None

    class Tracking(Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, module: Any, *batch: Any) -> None:
            if trainer.is_global_zero:
                found = getattr(module, network) if network else module
                done = trainer.current_epoch + (batch[-1] + 1) / max(1, trainer.num_training_batches)
                tracker.step(found, step=trainer.global_step, epoch=done)

    return Tracking()


def transformers_callback(tracker: Tracker) -> Any:
    """A callback for the `Trainer` of Hugging Face's transformers.

    Args:
        tracker: What measures; give it `forward=lambda network, inputs: network(**inputs).logits`.

    Returns:
        A `transformers.TrainerCallback`.

    Raises:
        InputError: Transformers is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ImportError:
        raise InputError("a callback for Hugging Face's Trainer takes the package transformers: install it") from None

    class Tracking(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
            if state.is_world_process_zero:
                tracker.step(model, step=state.global_step, epoch=state.epoch)

    return Tracking()
