"""`--network`, `--weights` and `--data`: code that is named runs, code inside a file never does."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from foundation.errors import InputError
from landscape.files.builders import build_data, build_network
from landscape.files.foreign_checkpoint import load_weights
from tests.conftest import run_command

CODE = """
import numpy as np
import torch
from torch import nn

def build(width=3):
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3))

network = build()

class Holder:
    build = staticmethod(build)

def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 5, generator=generator), torch.arange(12) % 3

class Named(torch.utils.data.TensorDataset):
    classes, train_counts = ["cat", "dog", "owl"], [200, 30, 4]

named = Named(*data())
number = 3

def fails():
    return {}["missing"]
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine_for_tests.py"
    path.write_text(CODE)
    return path


def network(width: int = 3) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3))


@pytest.mark.parametrize(
    ("spec", "width"),
    [
        ("mine_for_tests.py:build", 3),
        ("mine_for_tests.py:build(width=4)", 4),
        ("mine_for_tests.py:network", 3),
        ("mine_for_tests.py:Holder.build(width=2)", 2),
        ("mine_for_tests:build", 3),
    ],
)
def test_a_network_by_name(mine, spec, width):
    assert build_network(spec)[0].out_features == width


def test_networks_of_the_zoos():
    small = build_network("torchvision:resnet18(num_classes=4)")
    assert small.fc.out_features == 4
    with pytest.raises(InputError, match="failed with ValueError: Unknown model nothing"):
        build_network("torchvision:nothing")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("mine_for_tests.py", "names nothing"),
        ("mine_for_tests.py:build(", "names nothing"),
        ("mine_for_tests.py:build(width=open('x'))", "names nothing"),
        ("other.py:build", "no file 'other.py'"),
        ("no.such.module:build", "no module 'no.such.module'"),
        ("mine_for_tests.py:nothing", "has no 'nothing'"),
        ("mine_for_tests.py:build(depth=4)", "failed with TypeError"),
        ("mine_for_tests.py:fails", r"failed with KeyError: 'missing' \(mine_for_tests.py, line 25\)"),
        ("mine_for_tests.py:data", "is a tuple: name a torch.nn.Module"),
    ],
)
def test_what_names_no_network_is_said(mine, spec, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        build_network(spec)
    assert "\n" not in str(caught.value)


def test_data_by_name(mine, tmp_path):
    x, y = build_data("mine_for_tests.py:data", "mine_for_tests.py:build")
    assert (x.shape, len(y)) == ((12, 5), 12)
    assert build_data("mine_for_tests.py:named", "mine_for_tests.py:build").classes == ["cat", "dog", "owl"]
    np.savez(tmp_path / "set.npz", inputs=x.numpy(), labels=y.numpy())
    again = build_data(f"npz:{tmp_path / 'set.npz'}", "mine_for_tests.py:build")
    assert np.array_equal(again[0], x.numpy()) and np.array_equal(again[1], y.numpy())
    np.savez(tmp_path / "other.npz", x=x.numpy())
    with pytest.raises(InputError, match="holds x: name its arrays inputs and labels"):
        build_data(f"npz:{tmp_path / 'other.npz'}", "mine_for_tests.py:build")
    with pytest.raises(InputError, match="no folder"):
        build_data("folder:nowhere", "mine_for_tests.py:build")


def layouts() -> dict[str, dict]:
    state = network().state_dict()
    return {
        "plain": state,
        "state_dict": {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}},
        "model": {"model": state, "args": {"arch": "mine"}},
        "model_state_dict": {"model_state_dict": state},
        "data parallel": {f"module.{n}": t for n, t in state.items()},
        "compiled": {f"_orig_mod.{n}": t for n, t in state.items()},
        "compiled inside": {n.replace(".", "._orig_mod."): t for n, t in state.items()},
        "both": {"state_dict": {f"module._orig_mod.{n}": t for n, t in state.items()}},
        "lightning": {"state_dict": {f"model.{n}": t for n, t in state.items()}, "pytorch-lightning_version": "2.5"},
    }


@pytest.mark.parametrize("layout", list(layouts()))
def test_every_layout_holds_the_same_weights(layout, tmp_path):
    torch.save(layouts()[layout], tmp_path / "weights.pth")
    empty = network()
    nn.init.zeros_(empty[0].weight)
    load_weights(empty, tmp_path / "weights.pth")
    assert all(torch.equal(a, b) for a, b in zip(empty.parameters(), network().parameters(), strict=True))


def test_safetensors_and_stripped_names(tmp_path):
    safetensors.torch.save_file(network().state_dict(), tmp_path / "weights.safetensors")
    one, other = network(), network()
    nn.init.zeros_(one[2].weight)
    nn.init.zeros_(other[2].weight)
    load_weights(one, tmp_path / "weights.safetensors")
    more = {f"net.encoder.{n}": t for n, t in network().state_dict().items()} | {"loss.weight": torch.ones(3)}
    torch.save({"state_dict": more}, tmp_path / "weights.ckpt")
    said = load_weights(other, tmp_path / "weights.ckpt", "net.encoder")
    assert said.endswith("['state_dict'], 1 left out")
    assert all(torch.equal(a[2].weight, network()[2].weight) for a in (one, other))
    with pytest.raises(InputError, match=r"no name in .* begins with --strip 'body.': it has net.encoder.0.weight"):
        load_weights(other, tmp_path / "weights.ckpt", "body.")


class Touches:
    """Would leave a file behind if it were opened as a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_inside_a_file_never_runs(tmp_path):
    torch.save({"state_dict": network().state_dict(), "hook": Touches(tmp_path / "ran")}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"is refused: it holds more than tensors and plain types \(.*Path.*\)"):
        load_weights(network(), tmp_path / "bad.pth")
    torch.save(network(), tmp_path / "whole.pth")
    with pytest.raises(InputError, match=r"torch.nn.modules.*; where you trust it, open it and save torch.save\("):
        load_weights(network(), tmp_path / "whole.pth")
    (tmp_path / "old.pkl").write_bytes(pickle.dumps(Touches(tmp_path / "ran")))
    with pytest.raises(InputError, match=r"is refused|is damaged"):
        load_weights(network(), tmp_path / "old.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning")
def test_what_is_no_fitting_file_of_weights_is_said(tmp_path):
    state = network().state_dict()
    files = {
        "narrow": (network(4).state_dict(), r"0.weight is \(4, 5\) there and \(3, 5\) in the network"),
        "less": ({n: state[n] for n in ("0.weight", "0.bias", "2.weight")}, r"1 missing \(2.bias\)"),
        "more": (state | {"head.weight": state["0.bias"]}, r"1 unknown \(head.weight\)"),
        "none": ({"epoch": 3}, "holds a dictionary of epoch and no state dict"),
        "list": ([1, 2], "holds list and no state dict"),
        "quantized": ({"0.weight": torch.quantize_per_tensor(torch.ones(3, 5), 0.1, 0, torch.qint8)}, "quantized"),
    }
    for name, (content, sentence) in files.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(InputError, match=sentence):
            load_weights(network(), tmp_path / name)
    (tmp_path / "torn").write_bytes((tmp_path / "narrow").read_bytes()[:300])
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    for name in ("torn", "torn.safetensors"):
        with pytest.raises(InputError, match="is damaged"):
            load_weights(network(), tmp_path / name)
    with pytest.raises(InputError, match="do not exist"):
        load_weights(network(), tmp_path / "absent")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_programs_are_no_weights(tmp_path):
    torch.jit.script(network()).save(tmp_path / "script.pt")
    with pytest.raises(InputError, match="is a TorchScript program, which cannot be measured"):
        load_weights(network(), tmp_path / "script.pt")
    torch.export.save(torch.export.export(network(), (torch.ones(2, 5),)), tmp_path / "program.pt2")
    with pytest.raises(InputError, match=r"is a program of torch.export, which cannot be measured"):
        load_weights(network(), tmp_path / "program.pt2")


def test_commands_measure_an_own_network(mine, tmp_path):
    torch.save({"state_dict": network().state_dict()}, tmp_path / "best.pth")
    own = ("--network", "mine_for_tests.py:build", "--weights", "best.pth", "--data", "mine_for_tests.py:named",
           "--device", "cpu")  # fmt: skip
    fast = ("--no-intervals", "--max-products", 40)
    done = run_command("landscape.hessian", *own, *fast)
    assert "weights of 'best.pth' ['state_dict']" in done.stdout and "cat" in done.stdout
    run_command("landscape.sharpness", *own, "--draws", 2, "--steps", 1, "--radii", "0.1")
    run_command("landscape.surface", *own, "--points", "3x3", "--span", "0.5", "--exact")
    x, y = build_data("mine_for_tests.py:data", "mine_for_tests.py:build")
    losses = functional.cross_entropy(network()(x), y, reduction="none").detach()
    with h5py.File(tmp_path / "landscape.h5") as file:
        assert file["evaluation/train/subset"].asstr()[:5].tolist() == ["all", "balanced", "many", "medium", "few"]
        assert file["evaluation/train/train_count"][:].tolist()[-3:] == [200, 30, 4]
        assert file["hessian/train/loss"][-1] == pytest.approx(float(losses[y == 2].mean()), rel=1e-5)
        assert {"hessian", "sharpness", "surface"} <= set(file)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "give --ckpt of a trained run, or --network and --data"),
        (("--network", "mine_for_tests.py:build"), "--network goes with --data"),
        (("--ckpt", "a.pt", "--weights", "b.pt"), "--weights belongs to --network"),
        (
            ("--network", "mine_for_tests.py:build", "--data", "mine_for_tests.py:data", "--strip", "a."),
            "both or neither",
        ),
        (("--network", "mine_for_tests.py:build", "--data", "mine_for_tests.py:number"), "a int is no data"),
        (
            ("--network", "mine_for_tests.py:build", "--data", "mine_for_tests.py:data", "--loss", "trained"),
            "belong to",
        ),
    ],
)
def test_options_that_do_not_go_together_are_one_sentence(mine, arguments, sentence):
    done = run_command("landscape.hessian", *arguments, check=False)
    assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1
