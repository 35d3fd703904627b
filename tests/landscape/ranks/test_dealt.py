"""Ranks that share a measurement write what one process writes, to the last bit."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.distributed import HashStore

from foundation.errors import InputError, LostProcessError
from landscape import HessianSettings, SharpnessSettings, measure, measure_hessian
from landscape.files.identity import target_of
from landscape.hessian.measure import distinct, measure_some
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.record import columns, record_hessian
from landscape.ranks.start import joined, threads
from landscape.ranks.team import Team, present_team
from landscape.sharpness.record_matched import record_matched_sharpness
from tests.conftest import ROOT
from tests.landscape.ranks.together import SETTINGS, differing, measured, run_ranks, subject


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_ranks_write_what_one_process_writes(tmp_path):
    """The cheap one: a class larger than all others, one of a single sample, an odd number of subsets."""
    subsets, analysis = ("few", "class:0", "class:1"), "brief sharpness"
    assert run_ranks(measured, tmp_path / "ranks", tmp_path / "two.h5", "plain", analysis, subsets) == [0, 0]
    measured(tmp_path / "one.h5", "plain", analysis, subsets)
    assert differing(tmp_path / "one.h5", tmp_path / "two.h5") == []
    assert not list(tmp_path.glob("*.partial"))


def test_a_curvature_does_not_depend_on_what_was_measured_before():
    """What a rank that begins with the smallest subset finds, mixtures of classes that it has not seen among them."""
    measured_subject = subject(subsets=("all", "few", "class:0", "class:1", "class:3"))
    settings, plan = HessianSettings(top=1, max_products=20), choose_plan(measured_subject)
    whole = measure_hessian(measured_subject, settings=settings, plan=plan)
    names = [subset.name for subset in reversed(distinct(measured_subject))]
    found = {}
    measure_some(measured_subject, names, settings=settings, plan=plan, on_done=lambda c: found.setdefault(c.subset, c))
    for curvature in whole.curvatures:
        for quantity in columns(settings):
            mine, theirs = (np.asarray(quantity.of(c)) for c in (curvature, found[curvature.subset]))
            assert mine.tolist() == theirs.tolist() or np.isnan(mine).all(), quantity.name


@pytest.mark.exhaustive
@pytest.mark.parametrize(("ranks", "kind"), [(3, "plain"), (2, "attention"), (2, "normalized")])  # half a minute each
def test_every_analysis_of_every_subset(tmp_path, kind, ranks):
    analyses = [
        name for name in SETTINGS if "brief" not in name if kind != "normalized" or name != "hessian with vectors"
    ]
    for analysis in analyses:
        assert set(run_ranks(measured, tmp_path / analysis, tmp_path / "two.h5", kind, analysis, ranks=ranks)) == {0}
        measured(tmp_path / "one.h5", kind, analysis)
        assert differing(tmp_path / "one.h5", tmp_path / "two.h5") == []
        (tmp_path / "one.h5").unlink()
        (tmp_path / "two.h5").unlink()


@pytest.mark.exhaustive
@pytest.mark.parametrize("analysis", ["hessian", "sharpness", "surface"])
def test_more_ranks_than_units(tmp_path, analysis):
    """And a file that holds everything already."""
    for _ in range(2):
        assert (
            run_ranks(measured, tmp_path / "ranks", tmp_path / "many.h5", "plain", analysis, ("all",), ranks=4)
            == [0] * 4
        )
    measured(tmp_path / "one.h5", "plain", analysis, ("all",))
    assert differing(tmp_path / "one.h5", tmp_path / "many.h5") == []


def refused(file):
    measure(subject(), file, **SETTINGS["hessian"])


@pytest.mark.exhaustive
def test_what_rank_0_refuses_every_rank_raises(tmp_path):
    """Rank 0 alone opens the file, and finds there another network's numbers."""
    other = subject()
    with torch.no_grad():
        next(iter(other.parameters.values())).mul_(2)
    measure(other, tmp_path / "taken.h5", sharpness=SETTINGS["sharpness"]["sharpness"])
    assert run_ranks(refused, tmp_path / "ranks", tmp_path / "taken.h5") == [2, 2]
    said = [(tmp_path / "ranks" / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert said[0] == said[1]
    assert said[0].startswith("InputError: ") and "another checkpoint" in said[0]


def matched(file, other):
    run, team = subject(), present_team()
    target = target_of(run, file)
    record_hessian(run, target, HessianSettings(top=1, max_products=30), match_loss=other, team=team)
    sharpness = SharpnessSettings(radii=(0.1,), steps=1, draws=3)
    record_matched_sharpness(run, target, sharpness, other, team=team)


@pytest.mark.exhaustive
def test_at_matched_loss(tmp_path):
    other = subject("attention")
    measure(other, tmp_path / "other.h5")
    assert run_ranks(matched, tmp_path / "ranks", tmp_path / "two.h5", tmp_path / "other.h5") == [0, 0]
    matched(tmp_path / "one.h5", tmp_path / "other.h5")
    assert differing(tmp_path / "one.h5", tmp_path / "two.h5") == []


@pytest.mark.exhaustive
def test_torchrun_shares_a_command(tmp_path, small_run):
    """The command's lines once, one JSON object on stdout, and the file of one process."""
    arguments = ["-m", "landscape.hessian", "--ckpt", str(small_run), "--device", "cpu", "--subsets", "few,class:5"]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    for name, command in {"one": [sys.executable], "two": start}.items():
        done = subprocess.run(
            [*command, *arguments, "--out", str(tmp_path / f"{name}.h5"), "--json"],
            cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "2"},
        )  # fmt: skip
        assert json.loads(done.stdout)["measurement"] == "hessian/train"
        assert done.stderr.count("verdict") == 1
    assert ("on 2 ranks" in done.stderr) == (name == "two")
    assert differing(tmp_path / "one.h5", tmp_path / "two.h5") == []
    bad = subprocess.run(
        [*start, *arguments, "--top", "0"], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert bad.stderr.count("error: --top 0 is too small") == 1
    assert "exitcode  : 2" in bad.stderr


def pair() -> tuple[Team, Team]:
    store = HashStore()
    return Team(store, 0, 2), Team(store, 1, 2)


def test_units_are_dealt_once_each_and_the_measurement_ends_when_all_are_done():
    first, second = pair()
    done = []
    with first.measuring():
        dealt = first.dealt(["a", "b", "c"], [5, 3, 1], done.append)
        assert next(dealt) == "a"
        with second.measuring():
            assert (offered := second.offered()) is not None
            assert next(offered) == "b"
            assert next(offered) == "c"
            first._set("end", "")  # what rank 0 says on leaving; else the other waits for another round
            assert list(offered) == []
            assert list(dealt) == []
    assert sum(done) == 9


def test_an_error_of_one_rank_is_the_others_error():
    first, second = pair()
    with pytest.raises(InputError, match="name taken"), first.measuring():
        raise InputError("name taken")
    with pytest.raises(InputError, match="name taken"), second.measuring():
        pass
    with pytest.raises(ZeroDivisionError), second.measuring():
        raise ZeroDivisionError
    with pytest.raises(LostProcessError, match="has ended"), first.measuring():
        first._add("next 0", 1)  # the other has taken it
        list(first.dealt(["never done"]))


def test_a_measurement_inside_another_fails_with_it():
    """Rank 0 fails outside of what the other waits for."""
    first, second = pair()
    with pytest.raises(InputError, match="no plane"), first.measuring():
        raise InputError("no plane")
    with pytest.raises(InputError, match="no plane"), second.measuring(), second.measuring():
        pass


def test_an_environment_of_several_processes_that_do_not_meet_is_one_sentence(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="WORLD_SIZE is 8 and RANK is not set"), joined(torch.device("cpu")):
        pass


def continued(file):
    for settings in (
        SharpnessSettings(radii=(0.1,), steps=1, draws=3),
        SharpnessSettings(radii=(0.1,), steps=1, draws=5),
    ):
        measure(subject(subsets=("few", "class:0")), file, sharpness=settings)


@pytest.mark.exhaustive
def test_more_of_the_same_continues(tmp_path):
    assert run_ranks(continued, tmp_path / "ranks", tmp_path / "two.h5") == [0, 0]
    continued(tmp_path / "one.h5")
    assert differing(tmp_path / "one.h5", tmp_path / "two.h5") == []


def test_processors_are_divided_among_the_ranks_of_a_machine(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # torchrun's own default
    assert threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "99")
    assert threads() == 1
