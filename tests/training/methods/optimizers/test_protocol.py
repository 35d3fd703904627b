"""What all perturbing optimizers promise: exact weights, still statistics, accumulation, two ranks."""

import copy

import pytest
import torch
from torch import nn

from tests.training.methods.losses import references as ref
from tests.training.ranks import LABELS, STEPS, SYNCHRONIZED, Network, alone, together
from training.methods.method import build_method
from training.methods.objective import TrainingProgress
from training.methods.optimizers.registry import build_stepper

COUNTS = [40, 9, 2, 1]
PERTURBING = ["sam", "asam", "gsam", "gnp", "imbsam", "focal-sam", "sse-sam", "bgp"]


def kwargs_of(name):
    return {"bgp": {"member": "parameters"}, "gsam": {"rho_min": 0.02}}.get(name, {})


def make(batch_norm=nn.BatchNorm1d, dtype=torch.float32):
    torch.manual_seed(4)
    network = nn.Sequential(nn.Sequential(nn.Linear(6, 8), batch_norm(8), nn.ReLU()), nn.Linear(8, 4)).to(dtype)
    return network, torch.randn(10, 6, dtype=dtype), torch.tensor(LABELS)


def take_steps(name, network, inputs, labels, *, steps=1, lr=0.1, watch=lambda: None, autocast=False, **kwargs):
    method = build_method(name, COUNTS, **kwargs)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    optimizer.param_groups[0]["lr"] = lr
    stepper = build_stepper(method, optimizer, network)

    def losses(*objectives):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs = ref.outputs_of(network, inputs)
        watch()
        yield tuple(o(outputs, labels, **ref.MOMENT) for o in objectives or (method.objective,))

    return [float(stepper.step(losses, progress=TrainingProgress(0.5, 5, 10))) for _ in range(steps)]


@pytest.mark.parametrize("name", PERTURBING)
def test_weights_are_moved_and_put_back_exactly(name):
    network, inputs, labels = make()
    before = copy.deepcopy(network.state_dict())
    seen = []
    watch = lambda: seen.append(torch.cat([p.detach().reshape(-1) for p in network.parameters()]))  # noqa: E731
    take_steps(name, network, inputs, labels, lr=0.0, watch=watch, **kwargs_of(name))
    assert len(seen) == 2
    assert not any(torch.equal(seen[0], other) for other in seen[1:])
    for key, parameter in network.named_parameters():
        assert torch.equal(parameter, before[key])


@pytest.mark.parametrize("name", PERTURBING)
def test_batch_norm_counts_the_first_pass_alone(name):
    network, inputs, labels = make()
    plain, _, _ = make()
    take_steps("ce", plain, inputs, labels)
    take_steps(name, network, inputs, labels, **kwargs_of(name))
    for buffer, expected in zip(network.buffers(), plain.buffers(), strict=True):
        assert torch.equal(buffer, expected)


def test_batch_norm_can_count_both_passes():
    network, inputs, labels = make()
    take_steps("sam", network, inputs, labels, update_bn=True)
    assert network[0][1].num_batches_tracked == 2


def test_weights_and_statistics_come_back_after_an_exception():
    network, inputs, labels = make()
    before = copy.deepcopy(network.state_dict())
    passes = []

    def watch():
        passes.append(None)
        if len(passes) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_steps("sam", network, inputs, labels, watch=watch)
    assert all(torch.equal(p, before[key]) for key, p in network.named_parameters())
    assert network[0][1].track_running_stats


@pytest.mark.parametrize("name", [*PERTURBING, "ce"])
def test_accumulated_gradients_equal_one_batch(name):
    """Equal parts of the batch, of a loss that is a plain mean over samples."""
    kwargs = {**kwargs_of(name), **({"weight": 0.0} if name == "bgp" else {})}
    whole, values = alone(name, kwargs, steps=3)
    parts, split = alone(name, kwargs, steps=3, accumulate=2)
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-10)
    assert split == pytest.approx(values)


def test_frozen_parameters_stay_where_they_are():
    network, inputs, labels = make()
    network[0].requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    take_steps("sam", network, inputs, labels)
    assert torch.equal(network[0][0].weight, before["0.0.weight"])
    assert not torch.equal(network[1].weight, before["1.weight"])


@pytest.mark.parametrize("name", [*PERTURBING, "ce", "bgp", "cc-sam"])
def test_autocast_to_bfloat16_trains(name):
    network, inputs, labels = make()
    values = take_steps(name, network, inputs, labels, steps=40, lr=0.5, autocast=True, **kwargs_of(name))
    assert all(p.isfinite().all() for p in network.parameters())
    assert values[-1] < 0.7 * values[0]


def test_an_autocast_around_the_step_does_not_hide_the_perturbation():
    """Autocast keeps its bfloat16 copies of the weights until it ends."""
    network, inputs, labels = make()
    method = build_method("sam", COUNTS, rho=1.0)
    seen = []

    def losses(*objectives):
        outputs = ref.outputs_of(network, inputs)
        seen.append(outputs.logits.detach())
        yield (method.objective(outputs, labels, **ref.MOMENT),)

    optimizer = torch.optim.SGD(network.parameters(), 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        build_stepper(method, optimizer, network).step(losses, progress=TrainingProgress(0.0, 5, 10))
        list(losses())
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("name", SYNCHRONIZED)
def test_two_ranks_with_a_common_perturbation_equal_one_process(name):
    expected, values = alone(name, {"synchronized": True})
    for parameters, objectives in together()[name, "synchronized"]:
        torch.testing.assert_close(parameters, expected, rtol=0, atol=1e-10)
        assert objectives == pytest.approx(values, abs=1e-10)


def test_two_ranks_perturb_along_their_own_gradients():
    """The gradient is the mean over ranks of ∇L_r(w + ρ g_r/‖g_r‖); both ranks stay at the same weights."""
    (first, _), (second, _) = together()["sam", "per rank"]
    assert torch.equal(first, second)
    common, _ = alone("sam", {})
    assert (first - common).abs().max() > 1e-4

    torch.manual_seed(3)
    network = Network().double()
    inputs, labels = torch.randn(len(LABELS), 6, dtype=torch.float64), torch.tensor(LABELS)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    parameters = list(network.parameters())
    for _ in range(STEPS):
        gradients = []
        for rows in (slice(0, 5), slice(5, None)):

            def loss(rows=rows):
                return nn.functional.cross_entropy(network(inputs[rows])[0], labels[rows])

            g = torch.autograd.grad(loss(), parameters)
            size = torch.cat([part.reshape(-1) for part in g]).norm()
            kept = [p.detach().clone() for p in parameters]
            with torch.no_grad():
                for p, part in zip(parameters, g, strict=True):
                    p += 0.05 * part / size
            gradients.append(torch.autograd.grad(loss(), parameters))
            with torch.no_grad():
                for p, value in zip(parameters, kept, strict=True):
                    p.copy_(value)
        for p, one, two in zip(parameters, *gradients, strict=True):
            p.grad = (one + two) / 2
        optimizer.step()
    expected = torch.cat([p.detach().reshape(-1) for p in parameters])
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-10)
