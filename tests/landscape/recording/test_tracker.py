"""Tracking: exact where it measures, within its budget by a clock of its own, and training goes on as without it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from foundation.errors import InputError
from landscape.recording.track import PARTS

COUNTS = (30, 12, 5)


def data():
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    return torch.randn(len(labels), 6, generator=torch.Generator().manual_seed(0)) + labels[:, None], labels


class Clock:
    """Seconds that pass only where somebody says so: training by the step, networks by the sample."""

    now = 0.0

    def __call__(self) -> float:
        return Clock.now


class Timed(nn.Module):
    """A network whose every sample takes a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))

    def forward(self, x):
        Clock.now += 1e-3 * len(x)
        return self.inside(x)


def network():
    torch.manual_seed(1)
    return Timed()


def trained(net, tracker, steps, seconds=0.0):
    x, y = data()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(steps):
        before = Clock.now
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        Clock.now = before + seconds
        if tracker is not None:
            tracker.step(net)
    return net


def dense(net, x, y):
    parameters = list(net.parameters())
    loss = functional.cross_entropy(net(x), y)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True, materialize_grads=True) for g in gradient]
    return loss.detach(), gradient.detach(), torch.stack([torch.cat([p.flatten() for p in row]) for row in rows])


def test_a_point_is_what_autograd_gives_of_the_network_then(tmp_path):
    net = network()
    tracker = landscape.Tracker(data(), every=5, subsets=["all", "class:0", "class:2"], out=tmp_path / "track.h5",
                                budget=1e9, dtype=torch.float64, radius=0.1)  # fmt: skip
    trained(net, tracker, 10)
    track, (x, y), exact = tracker.track, data(), net.double().eval()
    assert track.step.tolist() == [5, 10] and (track.status == 1).all()
    gradients = []
    for row, rows in enumerate((y >= 0, y == 0, y == 2)):
        loss, gradient, hessian = dense(exact, x[rows].double(), y[rows])
        gradients.append(gradient)
        assert track.loss[1, row] == pytest.approx(float(loss), rel=1e-9)
        assert track.gradient_norm[1, row] == pytest.approx(float(gradient.norm()), rel=1e-9)
        top = float(torch.linalg.eigvalsh(hessian)[-1])
        assert abs(track.top[1, row] - top) <= track.top_residual[1, row] + 1e-9 and track.top[1, row] <= top + 1e-9
        assert track.top_residual[1, row] <= 0.01 * top * (1 + 1e-9)
        moved = torch.nn.utils.parameters_to_vector(exact.parameters()) + 0.1 * gradient / gradient.norm()
        there = network().double().eval()
        torch.nn.utils.vector_to_parameters(moved, there.parameters())
        higher = functional.cross_entropy(there(x[rows].double()), y[rows])
        assert track.sam[1, row] == pytest.approx(float(higher.detach() - loss), rel=1e-8)
    rows = functional.normalize(torch.stack(gradients), dim=1)
    assert np.allclose(track.cosine[1], (rows @ rows.T).numpy(), atol=1e-9)
    kept, _ = landscape.read_track(tmp_path / "track.h5")
    assert all(np.array_equal(getattr(kept, k), getattr(track, k), equal_nan=True) for k in ("top", "cosine", "step"))
    assert landscape.read_landscape(tmp_path / "track.h5").get("track", "train").complete


SHARES = [
    pytest.param(seconds, budget, marks=[] if (seconds, budget) == (3.0, 0.1) else pytest.mark.exhaustive)
    for seconds in (0.01, 0.3, 3.0, 40.0) for budget in (0.1, 0.5)
]  # fmt: skip


@pytest.mark.parametrize(("seconds", "budget"), SHARES)
def test_measuring_takes_its_share_of_the_training_time_and_no_more(tmp_path, seconds, budget):
    """Work is counted by a clock that only samples and training steps move."""
    Clock.now, steps = 0.0, 40
    options = {"every": 2, "subsets": ["all", "class:0", "class:2"], "budget": budget, "clock": Clock()}
    tracker = landscape.Tracker(data(), out=tmp_path / "track.h5", **options)
    trained(network(), tracker, steps, seconds)
    training, status = steps * seconds, tracker.track.status
    assert Clock.now == pytest.approx(training + tracker.spent, rel=1e-6)
    assert tracker.spent <= budget * training + 1.0  # a first evaluation and the checks before it
    if training > 100:
        assert tracker.spent <= 1.02 * budget * training
    assert len(status) + tracker.left_out == steps / 2
    left = status[..., PARTS.index("top")] == 0
    assert np.isnan(tracker.track.top[left]).all() and np.isfinite(tracker.track.top[~left]).all()
    if seconds == 40.0:
        assert (status[1:] == 1).all()
    if seconds == 0.01:
        assert tracker.left_out > 10


def test_every_part_and_subset_gets_its_turn(tmp_path):
    """Also where the time is not enough for all: what is cheap does not take it all."""
    Clock.now, options = 0.0, {"every": 1, "subsets": ["all", "class:0", "class:2"], "clock": Clock()}
    tracker = landscape.Tracker(data(), out=tmp_path / "track.h5", **options)
    trained(network(), tracker, 40, 3.0)
    measured = (tracker.track.status == 1).sum(0)
    assert measured.min() >= 1 and measured[:, PARTS.index("top")].max() < len(tracker.track.step)


def test_training_is_the_same_with_and_without(tmp_path):
    tracker = landscape.Tracker(data(), every=1, subsets=["all"], out=tmp_path / "track.h5", budget=1e9)
    with_it, without = trained(network(), tracker, 6), trained(network(), None, 6)
    assert with_it.training and all(torch.equal(a, b) for a, b in zip(with_it.parameters(), without.parameters(),
                                                                      strict=True))  # fmt: skip


def test_a_run_that_went_back_replaces_what_came_after(tmp_path):
    out, options = tmp_path / "track.h5", {"every": 1, "subsets": ["all"], "budget": 1e9}
    trained(network(), landscape.Tracker(data(), out=out, **options), 4)
    with pytest.raises(InputError, match="holds a track of 4 points: name another file"):
        landscape.Tracker(data(), out=out, **options)
    again, net = landscape.Tracker(data(), out=out, resume=True, **options), network()
    again.step(net, step=3, epoch=1.5)
    assert again.track.step.tolist() == [1, 2, 3] and again.track.epoch[-1] == 1.5
    other = landscape.Tracker(data(), out=out, resume=True, **options)
    with pytest.raises(InputError, match="a track of another network"):
        other.step(nn.Linear(6, 3))


def test_a_loss_without_curvature_is_marked_and_said_once(tmp_path):
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return 2 * g

    class Net(nn.Linear):
        def forward(self, x):
            return Doubled.apply(super().forward(x))

    tracker = landscape.Tracker(data(), every=1, subsets=["all", "class:1"], out=tmp_path / "t.h5", budget=1e9)
    net = Net(6, 3)
    with pytest.warns(UserWarning, match="no curvature is tracked"):
        tracker.step(net)
    tracker.step(net)
    assert (tracker.track.status[..., 2] == 3).all() and (tracker.track.status[..., [0, 1, 3]] == 1).all()
    assert "second" in landscape.read_landscape(tmp_path / "t.h5").get("track", "train").attributes["failed"]


def test_a_diverged_network_is_marked_and_ends_nothing(tmp_path):
    tracker, net = landscape.Tracker(data(), every=1, subsets=["all"], out=tmp_path / "t.h5", budget=1e9), network()
    tracker.step(net)
    with torch.no_grad():
        net.inside[0].weight.fill_(torch.nan)
    tracker.step(net)
    assert (tracker.track.status[1] == 2).all() and (tracker.track.status[0] == 1).all()


def test_scalars_reach_a_writer(tmp_path):
    written = []
    writer = SimpleNamespace(add_scalar=lambda *what: written.append(what))
    tracker = landscape.Tracker(data(), every=2, subsets=["few"], out=tmp_path / "t.h5", budget=1e9, tensorboard=writer)
    trained(network(), tracker, 4)
    assert [(tag, step) for tag, _, step in written if "top" in tag] == [
        ("landscape/top/few", 2),
        ("landscape/top/few", 4),
    ]
    assert written[0][1] == tracker.track.loss[0, 0]


@pytest.mark.parametrize(("options", "said"), [({"every": 0}, "every 0"), ({"budget": 0.0}, "leaves no time"),
                                               ({"radius": -1.0}, "radius -1")])  # fmt: skip
def test_what_cannot_be_asked_is_one_sentence(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        landscape.Tracker(data(), out=tmp_path / "t.h5", **options)
