"""Two gloo processes that take the same steps as one, in float64: run once, looked at by several tests."""

import datetime
import functools
import multiprocessing
import tempfile
import warnings
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from training.methods.method import build_method
from training.methods.objective import Outputs, TrainingProgress
from training.methods.optimizers.registry import build_stepper

COUNTS = [40, 9, 2, 1]
LABELS = [0, 0, 1, 0, 2, 0, 1, 3, 0, 0]  # class 3 is on the second rank alone, in either split
EQUAL, UNEQUAL = (5, 5), (3, 7)
STEPS = 4
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.training.ranks", "torch._dynamo"])  # imported once, not by every rank: 5 s each

LOSSES = {
    "ce": {},
    "bgp": {},
    "bgp class-mean": {"member": "class-mean"},
    "bgp classifier": {"member": "classifier", "weight": 0.5},
    "bgp classifier plain": {"member": "classifier", "norm": "plain", "weight": 0.5},
    "bgp logit-norm": {"member": "logit-norm"},
    "bgp logit-norm mean": {"member": "logit-norm", "norm": "mean"},
    "balanced-softmax-drw+bgp": {},
    "ib": {},
    "batch-balanced-ce+unbalanced-penalty": {"batch-balanced-ce.weight": 0.5},
    "abc-norm+mae": {},
    "cc-sam": {},
    "ldam-drw+bgp": {},
    "cc-sam-classifier": {},
    "bgp parameters": {"member": "parameters"},
}
SYNCHRONIZED = ["sam", "asam", "gsam", "gnp", "imbsam", "focal-sam", "sam+bgp"]
CASES = {
    **{
        (key, sizes): (key.split(" ")[0], kwargs, sizes) for key, kwargs in LOSSES.items() for sizes in (EQUAL, UNEQUAL)
    },
    **{(name, "synchronized"): (name, {"synchronized": True}, UNEQUAL) for name in SYNCHRONIZED},
    ("sam", "per rank"): ("sam", {}, EQUAL),
}
"""`{key: (method, settings, shard sizes)}`."""


class Network(nn.Module):
    """Logits and features of one forward pass, as the loop has them."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
        self.classifier = nn.Linear(8, 4)

    def forward(self, inputs):
        features = self.body(inputs)
        return self.classifier(features), features


def trained(name, kwargs, rows, wrap, steps=STEPS, accumulate=1, longest=None):
    """The parameters after some steps on these rows of the batch, flat."""
    torch.manual_seed(3)
    network = Network().double()
    inputs, labels = torch.randn(len(LABELS), 6, dtype=torch.float64)[rows], torch.tensor(LABELS)[rows]
    forward = wrap(network)
    method = build_method(name, COUNTS, **kwargs)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    stepper = build_stepper(method, optimizer, forward)

    def losses(*objectives):
        for part in torch.arange(len(labels)).tensor_split(accumulate):
            logits, features = forward(inputs[part])
            outputs = Outputs(logits, features, network.classifier.weight, longest)
            moment = {"progress": TrainingProgress(0.5, 9, 10)}
            yield tuple(o(outputs, labels[part], **moment) / accumulate for o in objectives or (method.objective,))

    values = [float(stepper.step(losses, progress=TrainingProgress(0.5, 5, 10))) for _ in range(steps)]
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()]), values


def alone(name, kwargs, **options):
    """The same in this process, on the whole batch."""
    return trained(name, kwargs, slice(None), lambda network: network, **options)


def run_ranks(work, *arguments):
    """Runs `work(rank, *arguments)` in two processes; returns their exit codes."""
    ranks = [FORKS.Process(target=_rank, args=(work, rank, *arguments)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=120)
    return [process.exitcode for process in ranks]


def _rank(work, rank, *arguments):
    torch.set_num_threads(1)
    warnings.simplefilter("error", FutureWarning)  # what PyTorch is about to take away
    work(rank, *arguments)


def _worker(rank, folder):
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=60)
    )
    results = {}
    for key, (name, kwargs, sizes) in CASES.items():
        rows = slice(0, sizes[0]) if rank == 0 else slice(sizes[0], None)
        known = max(sizes) if sizes == EQUAL else None  # what ranks are not told they ask
        results[key] = trained(name, kwargs, rows, DistributedDataParallel, longest=known)
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@functools.cache
def together():
    """Every case on two ranks: `{key: [(parameters, objectives) of rank 0, of rank 1]}`."""
    with tempfile.TemporaryDirectory() as folder:
        assert run_ranks(_worker, folder) == [0, 0]
        ranks = [torch.load(Path(folder) / f"{rank}.pt") for rank in (0, 1)]
    return {key: [rank[key] for rank in ranks] for key in CASES}
