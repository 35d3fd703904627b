"""Spoiled files never end in a traceback, in changed numbers or in gigabytes: a seeded sample of every kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import world
from tests.faults.campaign import tries
from tests.faults.kinds import KINDS, Kind
from tests.faults.server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.fixture(scope="module")
def made(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "world"
    folder.mkdir()
    return world.build(server, folder)


def deviations(server: Server, made: Path, kind: Kind, most: int, seed: int) -> list[str]:
    done = list(tries(server, made, kind, most=most, seed=seed))
    assert len(done) >= min(most, 4)
    return [f"{one.fault}: {one.why}" for one in done if one.why]


def test_a_sample_of_spoiled_files(server: Server, made: Path) -> None:
    """All kinds in one test: the world of files is made once."""
    found = {kind.name: deviations(server, made, kind, 2, seed=1) for kind in KINDS}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_many_spoiled_files(server: Server, made: Path, kind: Kind) -> None:
    assert deviations(server, made, kind, 25, seed=2) == []
