"""Which of the processes that were started together speaks."""

import pytest
from torch.distributed import TCPStore

from foundation.command import Parser
from foundation.devices import choose_device
from foundation.errors import InputError
from foundation.ranks import local_ranks, rank, ranks, speaks_first


def test_a_process_alone_is_rank_0_of_one_and_speaks(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (rank(), ranks(), local_ranks(), speaks_first()) == (0, 1, 1, True)


def test_what_ends_all_ranks_is_said_once(monkeypatch, capsys):
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    for _ in range(2):  # as both ranks do
        with pytest.raises(SystemExit):
            Parser("landscape.hessian", "Measures.", "").parse_args(["--nothing"])
    assert capsys.readouterr().err.count("error: unrecognized arguments: --nothing") == 1


def test_who_cannot_ask_the_others_speaks(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert speaks_first()


def test_a_gpu_belongs_to_one_rank(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto").index == choose_device("cuda").index == 1
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match=r"3 processes share 2 GPUs: give torchrun --nproc_per_node=2"):
        choose_device("auto")
