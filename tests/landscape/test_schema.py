"""A number is said once, in its field: names, dimensions, tables and objects read back follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from landscape.conversion import to_frame, to_xarray
from landscape.schema import NAT, SHARE, assemble, part, quantities, quantity


@dataclass(frozen=True)
class Pairs:
    values: np.ndarray = field(metadata=quantity("{meaning}", "rank", name="{name}", unit="{unit}"))
    vectors: torch.Tensor = field(
        default_factory=lambda: torch.empty(0, 0),
        metadata=quantity(
            "unit vectors of {name}", "rank", "parameter", name="vectors/{name}", dtype="f4", when="keep"
        ),
    )


@dataclass(frozen=True)
class Estimate:
    value: float = field(default=np.nan, metadata=quantity("{meaning}", name="{name}", unit="{unit}"))
    error: float = field(default=np.nan, metadata=quantity("its error", name="{name}_se", unit="{unit}"))


@dataclass(frozen=True)
class Sums:
    trace: Estimate = field(default=Estimate(), metadata=part(meaning="sum of all"))
    rank: Estimate = field(default=Estimate(), metadata=part("effective_rank", "as many equal ones", unit=SHARE))


@dataclass(frozen=True)
class Curved:
    subset: str
    loss: float = field(metadata=quantity("mean loss", unit=NAT))
    top: Pairs = field(metadata=part(meaning="largest", unit=NAT))
    bottom: Pairs = field(metadata=part(meaning="smallest", unit=NAT, rank="rank_bottom"))
    sums: Sums = field(default=Sums(), metadata=part(when="sums"))
    verdict: str = field(default="undecided", metadata=quantity("what is said"))
    products: int = field(default=0, metadata=quantity("products spent", unit=SHARE))
    converged: bool = field(default=False, metadata=quantity("whether all met the tolerance", unit=SHARE))


def curved(name: str, top: int = 3, **others) -> Curved:
    values = np.arange(top, 0.0, -1)
    return Curved(name, 0.5, Pairs(values, torch.ones(top, 4)), Pairs(np.array([-1.0])), **others)


@dataclass(frozen=True)
class Spread:
    subset: tuple[str, ...]
    radius: np.ndarray
    loss: np.ndarray = field(metadata=quantity("loss", "subset", unit=NAT))
    rise: np.ndarray = field(metadata=quantity("rise", "subset", "radius", unit=NAT))
    draws: np.ndarray = field(metadata=quantity("each rise", "subset", "radius", "draw", unit=NAT))


def test_names_dimensions_units_and_types_follow_from_the_fields():
    found = {q.name: q for q in quantities(Curved)}
    assert list(found) == [
        "loss", "top", "vectors/top", "bottom", "vectors/bottom", "trace", "trace_se", "effective_rank",
        "effective_rank_se", "verdict", "products", "converged",
    ]  # fmt: skip
    assert found["bottom"].dims == ("rank_bottom",) and found["vectors/bottom"].dims == ("rank_bottom", "parameter")
    assert found["top"].dims == ("rank",) and found["trace"].dims == ()
    assert (found["top"].meaning, found["vectors/bottom"].meaning) == ("largest", "unit vectors of bottom")
    assert (found["loss"].unit, found["effective_rank_se"].unit, found["trace"].unit) == ("nat", "1", "")
    types = [found[name].dtype for name in ("loss", "top", "vectors/top", "verdict", "products", "converged")]
    assert types == ["f8", "f8", "f4", "str", "i8", "i1"]
    assert found["trace"].path == ("sums", "trace", "value")


def test_a_setting_asks_for_a_quantity_or_for_a_whole_part():
    @dataclass(frozen=True)
    class Settings:
        keep: bool
        sums: int

    asked = {q.name for q in quantities(Curved) if q.asked(Settings(keep=False, sums=0))}
    assert asked == {"loss", "top", "bottom", "verdict", "products", "converged"}
    assert all(q.asked(Settings(keep=True, sums=2)) for q in quantities(Curved))


def test_a_result_is_assembled_from_its_values_and_what_is_absent_gets_its_default():
    whole = curved("a", sums=Sums(Estimate(2.0, 0.1), Estimate(3.0, 0.2)), products=7, converged=True)
    values = {q.name: q.of(whole) for q in quantities(Curved)}
    again = assemble(Curved, values, subset="a")
    assert again.subset == "a" and again.sums == whole.sums and again.products == 7 and again.converged
    assert again.top.values is whole.top.values and again.top.vectors is whole.top.vectors
    less = assemble(Curved, {k: v for k, v in values.items() if k not in ("trace_se", "vectors/top")}, subset="a")
    assert less.sums.trace.value == 2.0 and np.isnan(less.sums.trace.error) and len(less.top.vectors) == 0
    with pytest.raises(TypeError, match="loss"):
        assemble(Curved, {k: v for k, v in values.items() if k != "loss"}, subset="a")


def test_results_of_several_subsets_become_one_data_set_and_a_table():
    results = [curved("all"), curved("class:0", top=2, verdict="negative")]
    results[1] = replace(results[1], top=Pairs(results[1].top.values))  # no vectors were kept
    data = to_xarray(results, {"subset": ["all", "class:0"]}, {"split": "train"})
    assert data["top"].dims == ("subset", "rank") and data["bottom"].dims == ("subset", "rank_bottom")
    np.testing.assert_array_equal(data["top"].sel(subset="class:0"), [2, 1, np.nan])
    assert data["loss"].attrs == {"units": "nat", "long_name": "mean loss"} and data.attrs == {"split": "train"}
    assert data["vectors/top"].shape == (2, 3, 4) and np.isnan(data["vectors/top"][1]).all()
    assert "vectors/bottom" not in data
    assert data["verdict"].values.tolist() == ["undecided", "negative"]
    table = to_frame(data, spread=("rank", "rank_bottom"))
    assert table.index.tolist() == ["all", "class:0"] and table.index.name == "subset"
    assert table.loc["all", "top[0]"] == 3 and table.loc["class:0", "verdict"] == "negative"
    assert {"loss", "top[2]", "bottom[0]", "trace", "products"} <= set(table) and "vectors/top" not in table
    assert table["products"].dtype.kind == "i"


def test_a_result_that_spans_the_subsets_needs_no_stacking():
    names, radii = ("all", "few"), np.array([0.1, 0.2])
    result = Spread(names, radii, np.array([1.0, 2.0]), np.arange(4.0).reshape(2, 2), np.ones((2, 2, 5)))
    data = to_xarray(result, {"subset": names, "radius": radii})
    assert float(data["rise"].sel(subset="few", radius=0.2)) == 3 and data["draws"].dims[-1] == "draw"
    table = to_frame(data, rows=("subset", "radius"))
    assert list(table) == ["loss", "rise"] and table.index.names == ["subset", "radius"]
    assert table.loc[("few", 0.1), "rise"] == 2 and table.loc[("few", 0.2), "loss"] == 2
    narrow = to_frame(data, spread=("radius",))
    assert list(narrow) == ["loss", "rise[0.1]", "rise[0.2]"] and narrow.loc["all", "rise[0.2]"] == 1
