"""Choosing settings by the validation split."""

import json
from concurrent.futures import Future

import pytest

from analyses.search import Candidate, main, search, split_values, table
from foundation.errors import InputError
from tests.conftest import run_command
from tests.training.data.formats import write_cifar
from training import epochs, train
from training.config import Config


def base(out, **changes):
    small = {"data": "digits", "imbalance": 10.0, "model_kwargs": {"widths": [4, 8]}, "epochs": 1, "device": "cpu"}
    return Config(out=out, snapshots=0, **{**small, **changes})


def test_every_combination_is_trained_and_sorted_by_validation(tmp_path):
    found = search(base(tmp_path, method="bgp"), {"lr": [0.0, 0.1], "method.weight": [1, 2]}, seeds=2)
    assert {tuple(c.settings.items()) for c in found} == {
        (("lr", lr), ("method.weight", weight)) for lr in (0.0, 0.1) for weight in (1, 2)
    }
    scores = [c.accuracy["balanced"] for c in found]
    assert scores == sorted(scores, reverse=True)
    assert found == search(base(tmp_path, method="bgp"), {"lr": [0.0, 0.1], "method.weight": [1, 2]}, seeds=2)


def test_the_table_shows_percent():
    candidate = Candidate({"lr": 0.1}, {"balanced": 0.5, "few": 0.25}, 0.01)
    assert table([candidate]).splitlines()[-1] == "| lr=0.1 | 1 | 50.0 ± 1.0 | 25.0 |"


def test_settings_that_cannot_be_chosen_are_refused(tmp_path):
    with pytest.raises(InputError, match="'depth'"):
        search(base(tmp_path), {"depth": [1]}, seeds=1)
    with pytest.raises(InputError, match="nothing is held out"):
        search(base(tmp_path, validation=0), {"lr": [0.1]}, seeds=1)


def test_values_may_be_lists():
    assert split_values("0.1,[[0, 0.05], [0.5, 0.1]],auto") == [0.1, [[0, 0.05], [0.5, 0.1]], "auto"]
    assert split_values('{"a": 1, "b": [2]},3') == [{"a": 1, "b": [2]}, 3]


def test_halving_gives_later_seeds_to_the_better_half_alone(tmp_path):
    found = search(base(tmp_path), {"lr": [0.0, 0.05, 0.1, 0.2]}, seeds=3, halving=True)
    assert [candidate.seeds for candidate in found] == [3, 2, 1, 1]
    assert len(list(tmp_path.glob("*/seed-2"))) == 1 and len(list(tmp_path.glob("*/seed-1"))) == 2


@pytest.mark.parametrize("method", ["tau-norm", "post-hoc-la"])
def test_values_used_after_training_share_one_training(tmp_path, monkeypatch, method):
    trained = []
    monkeypatch.setattr("analyses.search.train", lambda config: trained.append(config) or epochs.train(config))
    found = search(base(tmp_path, method=method, lr=0.1), {"method.tau": [0.0, 0.5, 2.0]}, seeds=1)
    assert [config.method for config in trained] == ["ce"]
    for candidate in found:
        tau = candidate.settings["method.tau"]
        alone = train(base(tmp_path / "alone" / str(tau), method=method, method_kwargs={"tau": tau}, lr=0.1))
        expected = alone.rows[-1]["validation"]["accuracy"]
        assert candidate.accuracy["balanced"] == pytest.approx(expected["balanced"])


class InTurn:
    """Takes the place of a pool of processes and does each run when it is handed in."""

    jobs = 0

    def __init__(self, jobs, context, **beginning):
        InTurn.jobs = jobs

    def __enter__(self):
        return self

    def __exit__(self, *ending):
        pass

    def submit(self, work, *arguments):
        done = Future()
        done.set_result(work(*arguments))
        return done


def test_runs_side_by_side_come_back_to_their_settings(tmp_path, monkeypatch):
    one = search(base(tmp_path / "1"), {"lr": [0.05, 0.1]}, seeds=1)
    monkeypatch.setattr("analyses.search.ProcessPoolExecutor", InTurn)
    assert search(base(tmp_path / "2"), {"lr": [0.05, 0.1]}, seeds=1, jobs=2) == one and InTurn.jobs == 2


@pytest.mark.exhaustive
def test_runs_in_processes_of_their_own_are_the_same_runs(tmp_path):
    one, two = (search(base(tmp_path / str(jobs)), {"lr": [0.05, 0.1]}, seeds=1, jobs=jobs) for jobs in (1, 2))
    assert one == two


def test_the_command_takes_recipes_and_overrides(tmp_path):
    flags = ("--data", "digits", "--epochs", 1, "--device", "cpu", "--vary", "method.weight=1,2", "--seeds", 1)
    ended = run_command("analyses.search", "--recipe", "fashion-mini/bgp", *flags, "--out", tmp_path)
    assert "| method.weight=2 | 1 |" in ended.stdout and (tmp_path / "table.md").read_text() == ended.stdout


def test_the_command_searches_a_set_in_a_folder_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("LANDSCAPE_DATA", raising=False)
    write_cifar(tmp_path / "somewhere" / "cifar-10-batches-py", 10, 4)
    flags = ("--data", "cifar10", "--data-dir", tmp_path / "somewhere", "--validation", 2, "--method", "post-hoc-la",
             "--epochs", 1, "--device", "cpu", "--seeds", 1)  # fmt: skip
    varied = ("--vary", "imbalance=4", "--vary", "method.tau=0,1")
    with pytest.raises(SystemExit) as ended:
        main([str(flag) for flag in (*flags, *varied, "--out", tmp_path / "out")])
    assert ended.value.code == 0
    assert "| imbalance=4, method.tau=1 | 1 |" in capsys.readouterr().out
    (config,) = (tmp_path / "out").glob("*/seed-0/config.json")
    assert json.loads(config.read_text())["data_dir"] == str(tmp_path / "somewhere")
