"""The selftest passes here, and notices a product that is wrong."""

import json

import pytest

from landscape.hessian.products.hvp import HessianOperator
from landscape.verification import selftest_command
from landscape.verification.selftest import selftest


def test_this_machine_passes_and_says_so_in_json(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        selftest_command.main(["--device", "cpu", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0 and told["works"]
    assert [finding["what"] for finding in told["findings"]] == [
        "products in float64", "products in float32", "products on two threads", "symmetry", "eigenvalues and trace",
        "a result file", "memory and disk",
    ]  # fmt: skip


def test_wrong_products_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = HessianOperator.__call__
    monkeypatch.setattr(HessianOperator, "__call__", lambda self, v: right(self, v) * 1.001)
    wrong = {finding.what for finding in selftest().findings if not finding.works}
    assert {"products in float64", "products in float32", "products on two threads"} <= wrong
