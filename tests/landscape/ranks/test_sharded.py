"""A network that is spread over processes."""

import pytest
import torch
from torch import distributed, nn

from foundation.errors import InputError
from landscape import Subject

DATA = torch.randn(6, 3), torch.tensor([0, 0, 0, 1, 1, 0])


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.exhaustive  # the wrapper loads PyTorch's compiler
def test_a_wrapper_is_taken_off(group):
    network = nn.Sequential(nn.Linear(3, 2))
    wrapped = Subject(nn.parallel.DistributedDataParallel(network), DATA)
    assert list(wrapped.parameters) == ["0.weight", "0.bias"]
    torch.testing.assert_close(wrapped.vector(), torch.cat([p.detach().reshape(-1) for p in network.parameters()]))


@pytest.mark.exhaustive  # loads PyTorch's sharding
def test_a_sharded_network_is_refused(group):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    network = nn.Sequential(nn.Linear(3, 2))
    fully_shard(network, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(InputError, match=r"'0.weight' is sharded by FSDP.*give the whole network"):
        Subject(network, DATA)
