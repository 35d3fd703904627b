"""What a change of the numerics would change: golden values of one small network, whatever the machine.

Whoever must change a number here raises `landscape.schema.NUMERICS` with it: unfinished work of the old numbers is then
not continued with new ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import landscape
from landscape.execution.evaluate import evaluate
from landscape.schema import NUMERICS

GOLDEN = {
    "loss": [1.24542134, 0.77990491],
    "loss_slope": [-0.26539541, 0.18824906],
    "gradient_norm": [0.797365691, 0.874670975],
    "top": [0.749249601, 0.610107865, 1.48806482, 1.0870085],
    "bottom": [-0.753546632, -0.988739076],
    "trace": [0.51017854, 1.83272052],
    "top_scaled": [0.126467139, 0.170680606],
    "sam": [0.0806319944, 0.40710939, 0.0896091065, 0.479886307],
    "sam_steps": [0.080792103, 0.426547628, 0.0897523322, 0.508309247],
    "adaptive": [0.0271435175, 0.138673666, 0.0190765117, 0.0937131723],
    "surface": [0.963638924, 1.46502212, 2.54093382, 0.701584384, 1.24542134, 2.03603089, 0.805312539, 1.48476694,
                2.06518322, 0.618111034, 0.244217223, 0.0899709624, 1.25423077, 0.77990491, 0.42782592, 2.05366433,
                1.72127552, 1.31800684],
    "curvature_autodiff": [0.213325265, 0.482571648, 0.121290269, 0.446214272],
    "curvature_drawn": [0.246772585, 0.458946368, 0.122246869, 0.405682925],
    "accuracy": [1 / 2, 1 / 6, 1 / 6, 3 / 4, 1 / 6, 1 / 6, 1 / 2, 1 / 2, 1 / 3, 1, 1, 1, 0, 1, 1, 0, 0, 0],
}  # fmt: skip


def subject() -> landscape.Subject:
    """Weights and data by formula: they do not rest on a library's random numbers."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            index = torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
            parameter.copy_(torch.sin(3.0 * index + number) / 2)
    labels = torch.tensor([0] * 6 + [1] * 4 + [2] * 2)
    inputs = torch.cos(torch.arange(48, dtype=torch.float64).reshape(12, 4) * 1.7)
    return landscape.Subject(
        network, landscape.TensorSamples(inputs, labels), train_counts=[6, 4, 2], subsets=["all", "class:2"],
        dtype=torch.float64,
    )  # fmt: skip


def measured() -> dict[str, list[float]]:
    """Numbers of every analysis that do not rest on random directions, or whose random directions cancel."""
    hessian = landscape.measure_hessian(subject(), settings=landscape.HessianSettings(top=2, tol=1e-8)).to_xarray()
    settings = landscape.SharpnessSettings(radii=(0.1, 0.5), steps=3, draws=2)
    sharpness = landscape.measure_sharpness(subject(), settings=settings)
    plane = landscape.gradient_plane(subject(), of=("all", "class:2"))
    surface = landscape.measure_surface(subject(), plane=plane, settings=landscape.SurfaceSettings(points=3, span=1.0))
    found = {name: hessian[name].values for name in ("loss", "gradient_norm", "top", "bottom", "trace", "top_scaled")}
    found |= {name: getattr(sharpness, name) for name in ("sam", "sam_steps", "adaptive")}
    found |= {"surface": surface.loss, "curvature_autodiff": surface.curvature.autodiff}
    found |= {"loss_slope": evaluate(subject()).loss_slope}
    found |= {"curvature_drawn": surface.curvature.finite_difference, "accuracy": surface.accuracy}
    return {name: np.ravel(values).tolist() for name, values in found.items()}


def test_golden_values_of_these_numerics() -> None:
    assert NUMERICS == 5, "new numerics: new golden values"
    found = measured()
    assert found.keys() == GOLDEN.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, GOLDEN[name], rtol=1e-6, atol=1e-9, err_msg=name)
