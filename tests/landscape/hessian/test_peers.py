"""A trained checkpoint's Hessians through another library: the same products, the same eigenvalues."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import nn

from landscape.files.checkpoint import open_checkpoint
from landscape.hessian.measure import measure_hessian
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import HessianFactory
from landscape.hessian.result import HessianSettings


@pytest.fixture(scope="module")
def trained(small_run):
    return open_checkpoint(small_run / "checkpoint.pt").subject.with_subsets(["all", "class:9"])


@pytest.fixture(scope="module")
def curvlinops():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it compiles with the deprecated TorchScript when imported
        return importlib.import_module("curvlinops")


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@pytest.mark.parametrize("name", ["all", "class:9"])
def test_curvlinops(trained, curvlinops, name):
    subset = next(s for s in trained.subsets if s.name == name)
    rows, parameters = trained.rows(subset), list(trained.parameters.values())
    data = [(trained.inputs(rows), trained.labels[rows])]
    theirs = curvlinops.HessianLinearOperator(
        trained.network, nn.CrossEntropyLoss(), parameters, data, check_deterministic=False
    )
    vectors = torch.randn(3, trained.size, generator=torch.Generator().manual_seed(0))
    ours = HessianFactory(trained, choose_plan(trained)).of(subset).block(vectors)
    expected = torch.stack([theirs @ v for v in vectors])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    values = eigsh(theirs.to_scipy(), k=2, which="BE", tol=1e-4, ncv=16, return_eigenvectors=False)
    found = measure_hessian(trained, settings=HessianSettings(top=1, intervals=False)).of(name)
    assert found.top.outermost == pytest.approx(values.max(), rel=1e-4)
    assert found.bottom.outermost == pytest.approx(values.min(), abs=1e-4 * np.abs(values).max())
