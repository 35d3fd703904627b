import stat

import pytest

from foundation.errors import InputError
from foundation.files import locked, replacing, require_writable_folder, sha256_of, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "result.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_written_files_have_ordinary_permissions(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    write_json(tmp_path / "ours.json", {"a": 1})
    assert stat.S_IMODE((tmp_path / "ours.json").stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_second_holder_is_refused_and_the_lock_file_goes(tmp_path):
    lock = tmp_path / "lock"
    with (
        locked(lock, "busy"),
        pytest.raises(InputError, match="busy"),
        locked(lock, "busy"),
    ):
        pytest.fail("two holders")
    assert not lock.exists()
    with locked(lock, "busy"):
        assert lock.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--out .*file/below.* cannot be written"):
        require_writable_folder(tmp_path / "file" / "below", "--out")


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink() and real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert [path.name for path in real.parent.iterdir()] == ["real.txt"]
