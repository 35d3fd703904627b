"""A checkpoint that describes a network far larger than its weights takes no memory for it; honest ones are built."""

import pytest
import torch

from foundation.errors import InputError
from tests.conftest import run_command
from training.models import MODELS, build_model
from training.models.bounded import no_larger_than

LARGE = {
    "wide": {"widths": [10**6] * 3},
    "deep": {"widths": [1] * 10**6},
    "classes": {"classes": 10**12},
    "channels": {"in_channels": 10**9},
    "cosine": {"head": "cosine", "classes": 10**8},
}


@pytest.mark.parametrize("change", LARGE)
def test_a_small_file_of_a_large_network_is_refused(small_run, tmp_path, change):
    content = torch.load(small_run / "checkpoint.pt", weights_only=True)
    content["model"]["kwargs"].update(LARGE[change])
    torch.save(content, tmp_path / "large.pt")
    done = run_command("landscape.sharpness", "--ckpt", tmp_path / "large.pt", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "far larger than its weights" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["large.pt"]


@pytest.mark.parametrize("make", [
    lambda: torch.empty(10**13), lambda: torch.arange(10**13), lambda: torch.linspace(0, 1, 10**13),
    lambda: torch.eye(10**7), lambda: torch.ones(2).new_zeros(10**13), lambda: torch.randn(10**7, 10**7),
    lambda: [torch.ones(1) for _ in range(10**5)], lambda: torch.ones(2, 1).repeat(1, 10**13),
])  # fmt: skip
def test_whatever_makes_tensors_is_counted(make):
    with pytest.raises(InputError, match="far larger"), no_larger_than({"weight": torch.ones(3)}, "'file'"):
        make()


SOME = ("cnn", "timm:test_vit")  # the others take a second each
ALL = [*MODELS, "timm:test_vit", "timm:test_resnet"]


@pytest.mark.parametrize(
    "name", [name if name in SOME else pytest.param(name, marks=pytest.mark.exhaustive) for name in ALL]
)
def test_every_network_fits_its_own_weights(name):
    given = {"in_channels": 3, "classes": 10} | ({"img_size": 32, "patch_size": 8} if name == "timm:test_vit" else {})
    state = build_model(name, **given).state_dict()
    with no_larger_than(state, "'file'"):
        again = build_model(name, **given)
    assert {key: tensor.shape for key, tensor in again.state_dict().items()} == {k: t.shape for k, t in state.items()}
