"""Loss and accuracy of a network, class by class and group by group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foundation.groups import group_classes
from training.distributed import global_sum


@torch.no_grad()
def evaluate(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], train_counts: Sequence[int]
) -> dict[str, Any]:
    """Plain cross-entropy and top-1 accuracy of the inference logits, in evaluation mode.

    Under several processes each brings its share of the batches and all get the same answer.

    Args:
        network: The network; it is left in evaluation mode.
        batches: Images (b, C, H, W) and labels (b,).
        train_counts: n_c, which make the groups.

    Returns:
        `loss` and `accuracy` (0 to 1), each by subset: `all` and the groups that have a class, the mean over their
        samples; `balanced`, the mean over classes; `classes`, a list in label order. A class without samples here
        has None and counts in no mean.
    """
    network.eval()
    classes = len(train_counts)
    device = next(network.parameters()).device
    # On a GPU the sums stay there: fetching them would make it wait at every batch.
    sums = torch.zeros(3, classes, dtype=torch.float64, device=device if device.type == "cuda" else "cpu")
    for images, labels in batches:
        logits = network(images).float()
        losses = F.cross_entropy(logits, labels, reduction="none")
        rows = torch.stack([torch.ones_like(losses), losses, (logits.argmax(1) == labels).to(losses.dtype)])
        found = torch.zeros(3, classes, dtype=rows.dtype, device=rows.device).index_add_(1, labels, rows)
        sums += found.to(sums)
    counts, losses, right = global_sum(sums).cpu()
    return {"loss": by_subset(losses, counts, train_counts), "accuracy": by_subset(right, counts, train_counts)}


def by_subset(sums: Tensor, counts: Tensor, train_counts: Sequence[int]) -> dict[str, Any]:
    """Means of every subset from the sums of every class.

    Args:
        sums: (C,) float64, a quantity summed over each class's samples.
        counts: (C,) float64, how many samples each class has.
        train_counts: n_c, which make the groups.

    Returns:
        The means by subset name, `classes` for the list.
    """
    present = counts > 0
    means = {"all": float(sums.sum() / counts.sum()), "balanced": float((sums / counts)[present].mean())}
    for name, members in group_classes(train_counts).named():
        index = torch.tensor(members, dtype=torch.int64)
        if counts[index].sum() > 0:
            means[name] = float(sums[index].sum() / counts[index].sum())
    classes = [float(s / n) if n > 0 else None for s, n in zip(sums.tolist(), counts.tolist(), strict=True)]
    return {**means, "classes": classes}
