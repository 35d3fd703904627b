"""What may follow the main training with the backbone frozen: classifiers trained anew or only rescaled.

Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition" (ICLR 2020, section 4.2): cRT, LWS
and τ-normalization; Menon et al., "Long-Tail Learning via Logit Adjustment" (ICLR 2021, eq. 9): post-hoc adjustment.
Whatever a stage does ends in the weights and the bias of a linear classifier, so that the network keeps its form.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foundation.errors import InputError
from training.models import Network
from training.models.heads import Cosine, Scaled


def begin(network: Network, stage: str, *, anew: bool = True) -> None:
    """Freezes all but what a stage trains: the classifier (`crt`) or one factor a class (`lws`).

    Args:
        network: Changed in place.
        stage: The stage's name.
        anew: Whether the classifier of `crt` begins anew.

    Raises:
        InputError: `lws` of a network with a cosine classifier.
    """
    network.requires_grad_(False)
    if stage == "lws":
        network.classifier = Scaled(linear_classifier(network, stage))
    elif isinstance(network.classifier, nn.Linear | Cosine):
        if anew:
            network.classifier.reset_parameters()
        network.classifier.requires_grad_(True)


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights with the factors of a `Scaled` classifier multiplied into a linear one, if it has them."""
    if "classifier.scales" not in state:
        return state
    scales = state["classifier.scales"]
    plain = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    plain["classifier.weight"] = scales[:, None] * state["classifier.linear.weight"]
    plain["classifier.bias"] = scales * state["classifier.linear.bias"]
    return plain


def linear_classifier(network: Network, stage: str) -> nn.Linear:
    """The network's classifier, which must be linear.

    Args:
        network: The network.
        stage: The stage's name, for the sentence.

    Returns:
        The classifier.

    Raises:
        InputError: It is a cosine classifier.
    """
    if not isinstance(network.classifier, nn.Linear):
        raise InputError(f"{stage} needs a linear classifier, and this method has a cosine one: use a loss without it")
    return network.classifier


@torch.no_grad()
def tau_normalize(network: Network, *, tau: float) -> None:
    """w_c ← w_c / ‖w_c‖^τ without a bias (Kang et al., eq. 5), in place."""
    linear = linear_classifier(network, "tau-norm")
    linear.weight.div_(linear.weight.norm(dim=1, keepdim=True) ** tau)
    linear.bias.zero_()


@torch.no_grad()
def adjust_post_hoc(network: Network, class_counts: Sequence[int], *, tau: float) -> None:
    """b_c ← b_c - τ log π_c: the logit adjustment of a trained network, in place."""
    linear = linear_classifier(network, "post-hoc-la")
    counts = torch.tensor(class_counts, dtype=torch.float64)
    linear.bias.sub_((tau * (counts / counts.sum()).log()).to(linear.bias))
