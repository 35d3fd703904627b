"""`landscape.check` and `landscape check`: what works and what does not, in words, without an exception."""

from pathlib import Path

import pytest
import torch
from torch import nn

import landscape
from landscape.subject.subject import Subject
from tests.conftest import run_command
from tests.landscape.subject.test_subject import network, samples


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, inputs):
        return self.head(self.attention(inputs, inputs, inputs, need_weights=False)[0].mean(1))


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, inputs):
        return self.second(torch.tanh(self.first(inputs)).detach() + 0 * self.first(inputs))


def data(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(12, *shape, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def test_what_works_is_said_with_its_cost():
    report = landscape.check(Subject(network(), samples(), train_counts=[9, 4, 2, 1], params=["5.*"]))
    said = str(report)
    assert report.works and [f.what for f in report.findings] == [
        "network and data", "loss of each sample", "sharpness and surfaces", "second derivatives", "Hessian",
    ]  # fmt: skip
    assert "20 measured parameters, of 68: the others are frozen or not chosen" in said
    assert "16 samples (1, 1, 6, 6)" not in said and "1, 1, 6, 6" in said
    assert "evaluated folded" in said and "products each" in said and "exact trace" in said
    assert "note: the loss has kinks" in said and "note: BatchNorm" in said and "note: fewer than 10 samples" in said


def test_attention_is_measured_in_plain_operations():
    torch.manual_seed(0)
    said = str(landscape.check(Attending(), data(6, 4)))
    assert "with attention in plain operations" in said and "kinks" not in said


@pytest.mark.parametrize(
    ("net", "given", "what", "sentence"),
    [
        (nn.Linear(5, 3), data(4), "loss of each sample", "does not take inputs (12, 4)"),
        (nn.LazyLinear(3), data(5), "network and data", "has no shape yet"),
        (nn.Linear(5, 3), "nothing", "network and data", "is no data"),
        (Detached(), data(5), "second derivatives", "is not their derivative"),
    ],
)
def test_what_does_not_work_is_a_sentence_and_no_exception(net, given, what, sentence):
    report = landscape.check(net, given)
    assert not report.works and report.findings[-1].what == what and sentence in report.findings[-1].said
    assert f"NO  {what}: " in str(report)


@pytest.mark.parametrize(("build", "code"), [("nn.Linear(4, 3)", 0), ("nn.Linear(5, 3)", 1)])
def test_the_command_says_the_same(tmp_path: Path, build, code):
    mine = tmp_path / "checked.py"
    mine.write_text(
        f"import torch\nfrom torch import nn\n\nnet = {build}\ndata = torch.ones(6, 4), torch.arange(6) % 3\n"
    )
    done = run_command("landscape", "check", "--network", f"{mine}:net", "--data", f"{mine}:data", "--device", "cpu",
                       check=False)  # fmt: skip
    assert done.returncode == code, done.stderr
    assert ("NO  loss of each sample" in done.stdout) == bool(code) and "yes network and data" in done.stdout
    assert ("the lines with NO say why" in done.stderr) == bool(code)
