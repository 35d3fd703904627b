"""Each perturbing optimizer's step against its formula, written with functional calls on a small network."""

import math

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from foundation.errors import InputError
from tests.training.methods.losses import references as ref
from training.methods.method import build_method
from training.methods.objective import Outputs, TrainingProgress
from training.methods.optimizers.registry import build_stepper

COUNTS = [300, 40, 12, 1]
LABELS = torch.tensor([0, 0, 0, 1, 0, 1, 2, 3])
LR = 0.05


class Problem:
    """A network, a batch, and losses as functions of the weights."""

    def __init__(self):
        torch.manual_seed(5)
        network = torch.nn.Sequential(torch.nn.Linear(6, 7), torch.nn.Tanh(), torch.nn.Linear(7, 4))
        self.network = network.double()
        self.inputs = torch.randn(8, 6, dtype=torch.float64)
        self.weights = {name: p.detach().clone() for name, p in network.named_parameters()}

    def losses_at(self, weights, shift=0.0):
        """Cross-entropy of each sample at these weights."""
        logits = functional_call(self.network, weights, (self.inputs,)) + shift
        return functional.cross_entropy(logits, LABELS, reduction="none")

    def gradient(self, objective, weights=None):
        """The gradient, by name, of `objective(losses)` at these weights."""
        leaves = {name: w.clone().requires_grad_() for name, w in (weights or self.weights).items()}
        gradient = torch.autograd.grad(objective(self.losses_at(leaves)), list(leaves.values()))
        return dict(zip(leaves, gradient, strict=True))

    def perturbed(self, by, length):
        """The weights moved along a direction, by a length over all of them."""
        size = math.sqrt(sum(float((g**2).sum()) for g in by.values()))
        return {name: w + length / size * by[name] for name, w in self.weights.items()}

    def step(self, name, progress=0.5, epoch=5, **kwargs):
        """The gradient our stepper steps with, from the change of the weights, and the objective it reports."""
        method = build_method(name, COUNTS, **kwargs)
        optimizer = torch.optim.SGD(self.network.parameters(), LR)
        stepper = build_stepper(method, optimizer, self.network)

        def losses(*objectives):
            outputs = ref.outputs_of(self.network, self.inputs)
            moment = {"progress": TrainingProgress(progress, epoch, 10)}
            yield tuple(objective(outputs, LABELS, **moment) for objective in objectives or (method.objective,))

        self.value = float(stepper.step(losses, progress=TrainingProgress(progress, epoch, 10)))
        parameters = dict(self.network.named_parameters())
        return {name: (w - parameters[name].detach()) / LR for name, w in self.weights.items()}


@pytest.fixture
def problem():
    return Problem()


def mean(losses):
    return losses.mean()


def class_balanced(losses):
    return torch.stack([losses[c == LABELS].mean() for c in LABELS.unique()]).mean()


def weighted(factors):
    return lambda losses: (torch.tensor(factors, dtype=torch.float64)[LABELS] * losses).mean()


def combined(*terms):
    return {name: sum(factor * gradient[name] for factor, gradient in terms) for name in terms[0][1]}


def assert_same(got, expected):
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-9, atol=1e-12)


def test_sam(problem):
    there = problem.perturbed(problem.gradient(mean), 0.3)
    assert_same(problem.step("sam", rho=0.3), problem.gradient(mean, there))
    assert problem.value == pytest.approx(float(problem.losses_at(problem.weights).mean()))


@pytest.mark.parametrize(("progress", "rho"), [(0.0, 0.05), (0.05, 0.05), (0.1, 0.5), (0.99, 0.5)])
def test_radius_in_steps(problem, progress, rho):
    there = problem.perturbed(problem.gradient(mean), rho)
    got = problem.step("sam", progress=progress, rho=[[0, 0.05], [0.1, 0.5]])
    assert_same(got, problem.gradient(mean, there))


def test_asam(problem):
    rho, eta = 0.5, 0.01
    g = problem.gradient(mean)
    t = {n: w.abs() + eta if n.endswith("weight") else torch.ones_like(w) for n, w in problem.weights.items()}
    size = math.sqrt(sum(float(((t[n] * g[n]) ** 2).sum()) for n in g))
    there = {n: w + rho * t[n] ** 2 * g[n] / size for n, w in problem.weights.items()}
    assert_same(problem.step("asam", rho=rho, eta=eta), problem.gradient(mean, there))


def test_asam_does_not_care_how_weights_are_scaled():
    """Scaling a ReLU layer up and the next down changes neither the function nor ASAM's worst loss."""
    torch.manual_seed(0)
    labels, inputs = torch.tensor([0, 1, 0]), torch.randn(3, 4, dtype=torch.float64)
    rises = []
    for factor in (1.0, 10.0):
        torch.manual_seed(1)
        network = torch.nn.Sequential(
            torch.nn.Linear(4, 5, bias=False), torch.nn.ReLU(), torch.nn.Linear(5, 2, bias=False)
        ).double()
        with torch.no_grad():
            network[0].weight.mul_(factor)
            network[2].weight.div_(factor)
        seen = []

        def losses(*objectives, network=network, seen=seen):
            seen.append(functional.cross_entropy(network(inputs), labels))
            yield (seen[-1],)

        optimizer = torch.optim.SGD(network.parameters(), 0.0)
        build_stepper(build_method("asam", [2, 1], eta=0.0), optimizer, network).step(
            losses, progress=TrainingProgress(0.0, 5, 10)
        )
        rises.append((seen[1] - seen[0]).item())
    assert rises[0] == pytest.approx(rises[1], rel=1e-9)


def test_gnp_uses_the_papers_unnormalized_first_gradient(problem):
    here = problem.gradient(mean)
    there = problem.gradient(mean, problem.perturbed(here, 0.1))
    assert_same(problem.step("gnp", radius=0.1, alpha=0.8), combined((0.2, here), (0.8, there)))


def test_gnp_penalizes_the_gradient_norm(problem):
    """For a small radius the step is the gradient of L + αr ‖∇L‖, by double backward."""
    r, alpha = 1e-5, 1e4
    leaves = {name: w.clone().requires_grad_() for name, w in problem.weights.items()}
    loss = problem.losses_at(leaves).mean()
    gradient = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
    penalized = loss + alpha * r * torch.cat([g.reshape(-1) for g in gradient]).norm()
    exact = dict(zip(leaves, torch.autograd.grad(penalized, list(leaves.values())), strict=True))
    got = problem.step("gnp", radius=r, alpha=alpha)
    for name in exact:
        torch.testing.assert_close(got[name], exact[name], rtol=1e-3, atol=1e-5)


def test_gsam_descends_the_surrogate_gap(problem):
    here = problem.gradient(mean)
    there = problem.gradient(mean, problem.perturbed(here, 0.2))
    flat_here, flat_there = (torch.cat([g.reshape(-1) for g in gradient.values()]) for gradient in (here, there))
    along = float(flat_here @ flat_there / flat_there.norm() ** 2)
    across = combined((1.0, here), (-along, there))
    assert abs(float(torch.cat([g.reshape(-1) for g in across.values()]) @ flat_there)) < 1e-12
    assert_same(problem.step("gsam", rho=0.2, alpha=0.4), combined((1.0, there), (-0.4, across)))


def test_gsam_radius_follows_the_learning_rate(problem):
    method = build_method("gsam", COUNTS, rho=0.2, rho_min=0.1, alpha=0.0)
    optimizer = torch.optim.SGD(problem.network.parameters(), 1.0)
    stepper = build_stepper(method, optimizer, problem.network)
    optimizer.param_groups[0]["lr"] = 0.25  # a quarter of the rate it was made with

    def losses(*objectives):
        yield (method.objective(ref.outputs_of(problem.network, problem.inputs), LABELS, **ref.MOMENT),)

    stepper.step(losses, progress=TrainingProgress(0.5, 5, 10))
    there = problem.gradient(mean, problem.perturbed(problem.gradient(mean), 0.125))
    for name, parameter in problem.network.named_parameters():
        torch.testing.assert_close(parameter.detach(), problem.weights[name] - 0.25 * there[name])


def test_imbsam_perturbs_for_the_tail_alone_and_counts_it_once(problem):
    """Counts 300, 40, 12, 1: by the counts rule classes 2 and 3 are few-shot."""
    head, tail = weighted([1, 1, 0, 0]), weighted([0, 0, 1, 1])
    there = problem.gradient(tail, problem.perturbed(problem.gradient(tail), 0.05))
    assert_same(problem.step("imbsam"), combined((1.0, problem.gradient(head)), (1.0, there)))
    assert problem.value == pytest.approx(float(problem.losses_at(problem.weights).mean()))


def test_imbsam_at_radius_zero_is_plain(problem):
    assert_same(problem.step("imbsam", rho=0.0), problem.gradient(mean))


def test_imbsam_without_a_few_shot_class_in_the_batch_is_plain():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, 4)).double()
    inputs, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 0])
    twin = torch.nn.Linear(3, 4).double()
    twin.load_state_dict(network[1].state_dict())
    functional.cross_entropy(twin(inputs), labels).backward()
    method = build_method("imbsam", COUNTS)
    optimizer = torch.optim.SGD(network.parameters(), 1.0)
    before = network[1].weight.detach().clone()

    def losses(*objectives):
        yield tuple(o(ref.outputs_of(network, inputs), labels, **ref.MOMENT) for o in objectives)

    build_stepper(method, optimizer, network).step(losses, progress=TrainingProgress(0.0, 5, 10))
    torch.testing.assert_close(network[1].weight.detach(), before - twin.weight.grad)


def test_imbsam_without_any_few_shot_class_says_so():
    network = torch.nn.Linear(2, 12)
    with pytest.raises(InputError, match="use sam"):
        build_stepper(build_method("imbsam", [50] * 12), torch.optim.SGD(network.parameters(), 0.1), network)


def test_focal_sam(problem):
    rho, gamma, strength = 0.2, 3.0, 0.5
    total = sum(COUNTS)
    shift = torch.tensor([math.log(n / total) for n in COUNTS], dtype=torch.float64)
    factors = [strength * (1 - n / total) ** gamma for n in COUNTS]
    problem.losses_at = lambda weights, plain=problem.losses_at: plain(weights, shift)  # on logit adjustment
    sharp, clean = weighted(factors), weighted([1 - f for f in factors])
    there = problem.gradient(sharp, problem.perturbed(problem.gradient(sharp), rho))
    got = problem.step("la+focal-sam", rho=rho, strength=strength, gamma=gamma)
    assert_same(got, combined((1.0, problem.gradient(clean)), (1.0, there)))


@pytest.mark.parametrize(("progress", "rho_head"), [(0.5, 0.05), (0.9, 0.0)])
def test_sse_sam_perturbs_head_and_tail_each_by_its_own_gradient(problem, progress, rho_head):
    """Counts 300, 40, 12, 1: class 0 alone is head; at epoch 9 of 10 its radius has ended."""
    head, tail = weighted([1, 0, 0, 0]), weighted([0, 1, 1, 1])
    expected = combined(
        (1.0, problem.gradient(head, problem.perturbed(problem.gradient(head), rho_head))),
        (1.0, problem.gradient(tail, problem.perturbed(problem.gradient(tail), 0.1))),
    )
    assert_same(problem.step("sse-sam", progress, epoch=int(10 * progress)), expected)
    assert problem.value == pytest.approx(float(problem.losses_at(problem.weights).mean()))


def test_sse_sam_without_tail_samples_in_the_batch_is_sam():
    torch.manual_seed(0)
    networks = [torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, 4)).double() for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    inputs, labels = torch.randn(5, 3, dtype=torch.float64), torch.zeros(5, dtype=torch.int64)
    for name, kwargs, network in (("sse-sam", {}, networks[0]), ("sam", {"rho": 0.05}, networks[1])):
        method = build_method(name, COUNTS, **kwargs)

        def losses(*objectives, method=method, network=network):
            outputs = ref.outputs_of(network, inputs)
            yield tuple(o(outputs, labels, **ref.MOMENT) for o in objectives or (method.objective,))

        stepper = build_stepper(method, torch.optim.SGD(network.parameters(), 1.0), network)
        stepper.step(losses, progress=TrainingProgress(0.5, 5, 10))
    torch.testing.assert_close(networks[0][1].weight, networks[1][1].weight)


@pytest.mark.parametrize(("epoch", "factor"), [(0, 1.0), (5, 0.5), (9, 0.25)])
def test_gnm_steps_from_a_random_point_that_halves(problem, epoch, factor):
    torch.manual_seed(8)
    got = problem.step("gnm", 0.5, epoch=epoch, rho=0.5, magnitude=0.4, halving=0.4)
    method = build_method("gnm", COUNTS, rho=0.5, magnitude=0.4, halving=0.4)
    stepper = build_stepper(method, torch.optim.SGD(problem.network.parameters(), LR), problem.network)
    xi = dict(zip(problem.weights, stepper.noise(TrainingProgress(0.5, epoch, 10)), strict=True))
    there = {name: w + 0.5 * 0.4 * factor * xi[name] for name, w in problem.weights.items()}
    assert_same(got, problem.gradient(mean, there))
    assert problem.value == pytest.approx(float(problem.losses_at(there).mean()))


def test_gnm_noise_is_a_cut_gaussian_and_differs_from_step_to_step():
    network = torch.nn.Linear(300, 300).double()
    stepper = build_stepper(build_method("gnm", COUNTS), torch.optim.SGD(network.parameters(), 0.1), network)
    first, again, other = (stepper.noise(TrainingProgress(share, 0, 10))[0] for share in (0.1, 0.1, 0.1001))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.abs().max() <= 1 and first.std().item() == pytest.approx(1 / 3, rel=0.02)


def test_bgp_parameters(problem):
    weight, radius = 0.3, 0.1
    balanced = problem.gradient(class_balanced)
    there = problem.gradient(class_balanced, problem.perturbed(balanced, radius))
    expected = combined((1.0, problem.gradient(mean)), (weight / radius, there), (-weight / radius, balanced))
    assert_same(problem.step("bgp", member="parameters", weight=weight, radius=radius), expected)


def test_bgp_parameters_penalizes_the_class_balanced_gradient_norm(problem):
    """For a small radius the step is the gradient of L + λ ‖∇L_bal‖, by double backward."""
    leaves = {name: w.clone().requires_grad_() for name, w in problem.weights.items()}
    losses = problem.losses_at(leaves)
    gradient = torch.autograd.grad(class_balanced(losses), list(leaves.values()), create_graph=True)
    penalized = losses.mean() + 0.4 * torch.cat([g.reshape(-1) for g in gradient]).norm()
    exact = dict(zip(leaves, torch.autograd.grad(penalized, list(leaves.values())), strict=True))
    got = problem.step("bgp", member="parameters", weight=0.4, radius=1e-5)
    for name in exact:
        torch.testing.assert_close(got[name], exact[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["imbsam+bgp", "focal-sam+bgp"])
def test_what_cannot_be_split_by_class_says_so(problem, name):
    assert_same(problem.step(name, rho=0.0), Problem().step("bgp"))
    with pytest.raises(InputError, match="class-mean member cannot be split"):
        problem.step(name, member="class-mean")


def test_outputs_are_what_the_loop_hands_over(problem):
    outputs = ref.outputs_of(problem.network, problem.inputs)
    assert isinstance(outputs, Outputs)
    torch.testing.assert_close(problem.network(problem.inputs), outputs.logits)
