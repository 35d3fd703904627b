"""Finished units survive any ending, and a result is replaced only by a file that was read back."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import InputError, LandscapeError
from landscape.files import publish as publishing
from landscape.files import units
from landscape.files.contents import Contents
from landscape.files.landscape_file import read_landscape
from landscape.files.unit_folder import Head, UnitFolder, _decoded, _encoded, partial_path
from tests.landscape.files.test_landscape_file import SUBSETS, fill, opened
from tests.test_commands import datasets

TABLE = {
    "subset": ["all", "few"], "label": ["all", "few"], "kind": ["all", "group"], "train_count": [9, 2],
    "measured_count": [9, 2],
}  # fmt: skip


def head_of(**changes: object) -> Head:
    given = {
        "analysis": "hessian", "name": "train", "checkpoint_sha256": "a" * 64, "config": {"split": "train"},
        "extent": {"top": 2}, "numerics": 1, "table": TABLE, "provenance": {"version": "0"},
    }  # fmt: skip
    return Head(**{**given, **changes})


def measure(file: Path, rows: tuple[int, ...] = (0, 1, 2), done: object = None) -> None:
    """A measurement of three units; `done` is called with the number of each row once it is kept."""
    with opened(file) as record:
        if record is None:
            return
        fill(record, rows=())
        record.create("verdict", dims=("subset",), shape=(3,), dtype="str")
        for row in rows:
            if not record.read("status")[row]:
                record.write("top", row, np.arange(2) + row)
                record.write("verdict", row, "negative")
                record.write("status", row, 1)
                record.flush()
                if done is not None:
                    done(row)
        record.note("plan", {"keep": 3, "names": ["a", "b"]})
        record.finish()


INDICES = st.one_of(
    st.integers(0, 2), st.just(Ellipsis), st.just(slice(None)), st.tuples(st.integers(0, 2), st.just(slice(0, 2)))
)


@settings(deadline=None, max_examples=15)
@given(index=INDICES, note=st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_a_unit_is_read_as_it_was_written(
    index: object, note: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, head = UnitFolder(tmp_path_factory.mktemp("units") / "f"), head_of()
    with opened(folder.path.with_suffix(".h5")) as record:
        record.create("top", dims=("subset", "rank"), shape=(3, 2))
        record.create("verdict", dims=("subset",), shape=(3,), dtype="str")
        record.write("top", index, 4.5)
        record.write("verdict", 1, "none-found \u2603")
        record.note("said", note)
        record.scale("rank", ["first", "second"])
        steps = record._steps
        folder.begin(head)
        folder.write(head, steps, 1.5)
    found = folder.contents(head)
    np.testing.assert_array_equal(found.datasets["top"].values, record.read("top"))
    assert list(found.datasets["verdict"].values) == ["", "none-found \u2603", ""]
    assert list(found.scales["rank"][0]) == ["first", "second"]
    assert found.notes == {"said": note} and found.seconds == 1.5


def test_a_cut_or_changed_unit_is_a_sentence(tmp_path: Path) -> None:
    folder, head = UnitFolder(tmp_path / "f"), head_of()
    folder.begin(head)
    values = np.linspace(0, 1, 50)
    steps = [("create", ("top", ["subset"], [50], "<f8", 0.0, "", "")), ("write", ("top", slice(None), values))]
    folder.write(head, steps, 0.0)
    (path,) = folder.path.glob("*.unit")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    changed = [whole[:n] for n in range(0, len(whole), 37)]
    changed += [
        whole[:n] + bytes([whole[n] ^ (1 << rng.integers(8))]) + whole[n + 1 :] for n in range(0, len(whole), 7)
    ]
    for content in changed:
        path.write_bytes(content)
        with pytest.raises(InputError, match=path.name):
            folder.contents(head)


def test_units_of_another_measurement_are_not_taken(tmp_path: Path) -> None:
    folder, mine, other = UnitFolder(tmp_path / "f"), head_of(), head_of(extent={"top": 3})
    assert len({h.identity for h in (mine, other, head_of(numerics=2), head_of(checkpoint_sha256="b" * 64))}) == 4
    assert head_of(provenance={}).identity == mine.identity
    for head in (mine, other):
        folder.begin(head)
        folder.write(head, [("note", ("of", str(head.extent["top"])))], 0.0)
    assert folder.contents(mine).notes == {"of": 2} and folder.contents(other).notes == {"of": 3}
    (path,) = folder.path.glob(f"{other.identity[:16]}-*")
    path.rename(path.with_name(path.name.replace(other.identity[:16], mine.identity[:16])))
    with pytest.raises(InputError, match="damaged"):
        folder.contents(mine)


def test_several_processes_write_side_by_side(tmp_path: Path) -> None:
    script = """
        import json, sys
        from pathlib import Path
        import numpy as np
        from landscape.files.unit_folder import Head, UnitFolder
        folder, head, mine = UnitFolder(Path(sys.argv[1])), Head(**json.loads(sys.argv[2])), int(sys.argv[3])
        folder.begin(head)
        for row in range(mine, 40, 2):
            made = ("create", ("top", ["subset"], [40], "<f8", 0.0, "", ""))
            folder.write(head, [made, ("write", ("top", row, np.array(row + 1.0)))], 1.0)
    """
    about = json.dumps(head_of().__dict__)
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "f"), about]
    both = [subprocess.Popen([*command, str(k)], cwd=Path(__file__).parents[3]) for k in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    found = UnitFolder(tmp_path / "f").contents(head_of())
    assert found.datasets["top"].values.tolist() == list(range(1, 41)) and found.seconds == 40


def killed_at(file: Path, call: int) -> tuple[bool, list[int]]:
    """Measures in a process that SIGKILL ends just before its n-th flush to disk or rename.

    Returns:
        Whether it was killed, and the rows that it knew to be kept.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        left = call

        def counted(original: object) -> object:
            def instead(*arguments: object, **options: object) -> object:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments, **options)  # type: ignore[operator]

            return instead

        os.fsync, os.replace, os.unlink = counted(os.fsync), counted(os.replace), counted(os.unlink)  # type: ignore
        try:
            measure(file, done=lambda row: os.write(write, bytes([row])))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        rows = list(pipe.read())
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), rows


def test_sigkill_before_any_flush_or_rename_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    """At every one of them, with earlier results in the file: those stay, no kept unit is measured again."""
    whole = tmp_path / "whole.h5"
    for file in (whole, tmp_path / "earlier.h5"):
        with opened(file, name="earlier") as record:
            fill(record)
            record.finish()
    measure(whole)
    call, killed = 0, True
    while killed:
        call += 1
        file = tmp_path / str(call) / "landscape.h5"
        file.parent.mkdir()
        file.write_bytes((tmp_path / "earlier.h5").read_bytes())
        killed, kept = killed_at(file, call)
        assert read_landscape(file, unfinished=False).get("hessian", "earlier") is not None
        again: list[int] = []
        measure(file, done=again.append)
        assert not set(again) & set(kept)
        assert datasets(file) == datasets(whole)
        assert [path.name for path in file.parent.glob("[!.]*")] == ["landscape.h5"]
    assert call > 20


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_write_that_fails_is_one_sentence_and_the_rerun_continues(
    tmp_path: Path, error: int, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, file = tmp_path / "whole.h5", tmp_path / "landscape.h5"
    for path in (whole, file):
        with opened(path, name="earlier") as record:
            fill(record)
            record.finish()
    measure(whole)
    before, original, call = file.read_bytes(), getattr(os, function), 0
    while True:
        call += 1
        left = call

        def failing(*arguments: object, original: object = original, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(error, os.strerror(error))
            return original(*arguments, **options)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(os, function, failing)
            try:
                measure(file)
                break
            except LandscapeError as told:
                assert "cannot be written" in str(told) and os.strerror(error) in str(told)
        if read_landscape(file, unfinished=False).get("hessian", "train") is None:
            assert file.read_bytes() == before
    assert call > 2
    assert datasets(file) == datasets(whole)


def test_a_file_that_reads_back_otherwise_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "landscape.h5"
    with opened(file, name="earlier") as record:
        fill(record)
        record.finish()
    before, written = file.read_bytes(), publishing._write

    def torn(temporary: Path, *arguments: object) -> None:
        written(temporary, *arguments)  # type: ignore[arg-type]
        content, value = temporary.read_bytes(), np.float64(3.0).tobytes()
        assert value in content
        temporary.write_bytes(content.replace(value, np.float64(3.5).tobytes()))

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_write", torn)
        with pytest.raises(LandscapeError, match="reads back otherwise"):
            measure(file)
    assert file.read_bytes() == before
    measure(file)
    assert read_landscape(file).get("hessian", "train").data["top"][2, 1] == 3.0


def test_results_above_the_memory_budget_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = tmp_path / "small.h5", tmp_path / "large.h5"
    measure(small)
    monkeypatch.setattr(publishing, "IN_MEMORY", 0)
    measure(large)
    assert datasets(small) == datasets(large)


def test_another_extent_keeps_what_was_begun_until_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "landscape.h5"
    with opened(file, extent={"top": 2}) as record:
        fill(record, rows=(0,))
    with opened(file, extent={"top": 4}) as record:
        assert not record.resumed and record.previous.data["status"].tolist() == [1, 0, 0]
    with opened(file, extent={"top": 2}) as record:
        assert record.resumed and record.read("status").tolist() == [1, 0, 0]
        fill(record, rows=(1, 2))
        record.finish()
    assert not partial_path(file, "hessian", "train").exists()


def test_unfinished_work_of_other_numerics_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "landscape.h5"
    with opened(file) as record:
        fill(record, rows=(0,))
    monkeypatch.setattr(units, "NUMERICS", units.NUMERICS + 1)
    with pytest.raises(InputError, match=r"other numerics.*--overwrite"), opened(file):
        pytest.fail("opened")
    with opened(file, overwrite=True) as record:
        assert not record.resumed and record.previous is None
        fill(record)
        record.finish()
    monkeypatch.undo()
    with opened(file, extent={"top": 3}) as record:
        assert record.previous is None, "more of it would mix two numerics"


def test_all_units_together_are_the_group(tmp_path: Path) -> None:
    """A measurement made in one go and one that was interrupted after every unit say the same."""

    def interrupt(row: int) -> None:
        raise KeyboardInterrupt

    one, many = tmp_path / "one.h5", tmp_path / "many.h5"
    measure(one)
    for row in range(3):
        with pytest.raises(KeyboardInterrupt):
            measure(many, rows=(row,), done=interrupt)
    measure(many)
    assert datasets(one) == datasets(many)
    assert Contents(TABLE).size() == 0 and len(SUBSETS) == 3
    assert _decoded(3, {}) == 3 and _encoded("", [], 0.0)[32:34] == b"PK"
