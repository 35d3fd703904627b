import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from foundation.errors import one_of
from foundation.provenance import command_line


@pytest.mark.parametrize(
    ("spec", "argv", "typed"),
    [
        ("landscape.hessian.__main__", ["/at/landscape/hessian/__main__.py", "--top", "3"],
         "python -m landscape.hessian --top 3"),
        ("training.run", ["/at/training/run.py", "--out", "a b"], "python -m training.run --out 'a b'"),
        (None, ["/at/bin/landscape", "hessian", "--top", "3"], "landscape hessian --top 3"),
    ],
)  # fmt: skip
def test_the_command_is_recorded_as_it_was_typed(monkeypatch, spec, argv, typed):
    started = ModuleType("__main__")
    started.__spec__ = spec and ModuleSpec(spec, None)
    monkeypatch.setitem(sys.modules, "__main__", started)
    monkeypatch.setattr(sys, "argv", argv)
    assert command_line() == typed


def test_the_nearest_known_name_is_offered():
    known = ["resnet20", "resnet32", "cnn"]
    assert str(one_of("network", "resnet23", known)) == (
        "unknown network 'resnet23' (did you mean resnet32?): choose one of cnn, resnet20, resnet32"
    )
    assert str(one_of("network", "magic", iter(known))) == (
        "unknown network 'magic': choose one of cnn, resnet20, resnet32"
    )
