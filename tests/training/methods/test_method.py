"""Names of methods: what they stand for, what they record, what they refuse."""

import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import InputError
from tests.training.methods.losses import references as ref
from tests.training.methods.losses.test_losses import COUNTS, batch
from training.methods.losses.bgp import MEMBERS, NOTE
from training.methods.method import build_method
from training.methods.registry import KINDS, PARTS, SHORTHANDS


def same(name, other, **kwargs):
    outputs, labels = batch()
    return torch.equal(
        ref.objective(name, COUNTS, outputs, labels, **kwargs), ref.objective(other, COUNTS, outputs, labels, **kwargs)
    )


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("bgp", "ce+bgp"),
        ("ldam-drw+bgp", "ldam+drw+bgp"),
        ("bgp+drw+ldam", "ldam+drw+bgp"),
        ("cb-focal", "focal+cb"),
        ("ce-mae", "ce+mae"),
        ("ce-drw", "drw"),
        ("cb-ce", "cb"),
    ],
)
def test_sums_of_parts(name, meaning):
    assert same(name, meaning)


def test_perturbing_optimizers_leave_the_objective_alone():
    assert same("ldam-drw", "ldam-drw+sam")
    assert build_method("ldam-drw+sam", COUNTS, rho=0.8).optimizer.kwargs["rho"] == 0.8
    assert build_method("ldam-drw", COUNTS).optimizer is None


@pytest.mark.parametrize("name", [*PARTS, *SHORTHANDS, "ldam-drw+bgp+mixup+balanced-sampling+asam+crt"])
def test_every_record_is_plain_and_makes_the_method_again(name):
    method = build_method(name, COUNTS)
    record = json.loads(json.dumps(method.record))
    assert set(record) == {"name", "kwargs", "note"}
    again = build_method(record["name"], COUNTS, **record["kwargs"])
    assert again.record == method.record == record
    outputs, labels = batch()
    assert torch.equal(again.objective(outputs, labels, **ref.LATE), method.objective(outputs, labels, **ref.LATE))


def test_records_hold_every_setting_resolved():
    assert build_method("focal+sam", COUNTS, gamma=2).record["kwargs"] == {
        "focal.gamma": 2,
        "sam.rho": 0.05,
        "sam.synchronized": False,
        "sam.update_bn": False,
    }
    assert build_method("bgp", COUNTS).record["kwargs"]["bgp.weight"] == 2.0
    assert build_method("bgp", COUNTS, member="classifier").record["kwargs"]["bgp.weight"] == 0.003


def test_a_setting_of_two_parts_is_named_in_full():
    with pytest.raises(InputError, match=r"'gamma' is known to focal and focal-sam: write focal\.gamma"):
        build_method("focal+focal-sam", COUNTS, gamma=2.0)
    method = build_method("focal+focal-sam", COUNTS, **{"focal.gamma": 2.0})
    assert method.record["kwargs"]["focal.gamma"] == 2.0
    assert method.record["kwargs"]["focal-sam.gamma"] == 3.0


@pytest.mark.parametrize(
    ("name", "kwargs", "sentence"),
    [
        ("magic", {}, r"unknown method 'magic': choose one of .*balanced-softmax"),
        ("ce+magic", {}, "unknown method 'magic'"),
        ("", {}, "unknown method ''"),
        ("ce+ldam", {}, "more than one main loss .ce, ldam.: keep one"),
        ("cb-ce+drw", {}, "more than one class weighting"),
        ("sam+asam", {}, "more than one perturbing optimizer"),
        ("mixup+cmo", {}, "more than one mixing"),
        ("ce", {"rho": 0.1}, r"'ce' has no setting 'rho': it knows ce\.smoothing"),
        ("abc-norm", {"rho": 0.1}, r"no setting 'rho': it knows abc-norm\.share, abc-norm\.exponent$"),
        ("ce", {"smoothing": 1.5}, "smoothing 1.5 is no share"),
        ("bgp", {"lambda": 1.0}, r"no setting 'lambda': it knows .*bgp\.member, .*bgp\.weight"),
        ("bgp", {"sam.rho": 1.0}, r"no setting 'sam\.rho'"),
        ("bgp", {"weight": "two"}, r"bgp\.weight is 'two': give a number"),
        ("bgp", {"member": 3}, r"bgp\.member is 3: give a word"),
        ("bgp", {"member": "magic"}, "unknown member of bgp 'magic': choose one of class-mean, classifier, logit,"),
        ("bgp", {"norm": "l3"}, "unknown norm of bgp's logit member 'l3': choose one of l1, l2"),
        ("bgp", {"balance": "never"}, "unknown balance 'never': choose one of batch, running"),
        ("bgp", {"member": "class-mean", "balance": "running"}, "class-mean member knows no balance"),
        ("bgp", {"schedule": "never"}, "unknown schedule of bgp 'never'"),
        ("bgp", {"member": "parameters", "schedule": "rising"}, "use constant"),
        ("bgp", {"member": "parameters", "radius": 0.0}, "radius 0: the usual value is 0.1"),
        ("bgp+sam", {"member": "parameters"}, "more than one perturbing optimizer"),
        ("sam", {"rho": [[0.5, 0.1]]}, "or steps .* that begin at 0"),
        ("sam", {"rho": -0.1}, r"sam\.rho is -0\.1"),
        ("sam", {"synchronized": 1}, "give true or false"),
        ("cb-ce", {"beta": 1.0}, r"beta 1 .* must lie in \[0, 1\)"),
        ("focal", {"gamma": -1.0}, r"focal\.gamma is -1\.0: give a number of at least 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(name, kwargs, sentence):
    with pytest.raises(InputError, match=sentence):
        build_method(name, COUNTS, **kwargs)


@pytest.mark.parametrize("counts", [[10], [5, 0, 3], []])
def test_every_class_needs_a_sample(counts):
    with pytest.raises(InputError, match="two or more classes with at least one"):
        build_method("ce", counts)


def rows_of_the_page():
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")
    return {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}


@pytest.mark.parametrize("name", PARTS)
def test_the_page_lists_every_part_with_its_defaults(name):
    row = rows_of_the_page()[name]
    shared = {"synchronized", "update_bn"}  # said once for all perturbing optimizers
    for setting, default in PARTS[name].defaults.items():
        if setting in shared:
            continue
        assert f"`{setting}`" in row
        if default is not None:
            value = default if isinstance(default, str) else f"{default:g}"
            assert re.search(rf"`{setting}`( \([^)]*\))? {re.escape(value)}\b", row), (setting, value)


def test_the_page_says_that_bgp_is_a_reconstruction():
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")
    assert NOTE in page


def test_the_page_lists_every_member_of_bgp_with_its_weights():
    rows = rows_of_the_page()
    for member, norms in MEMBERS.items():
        assert ", ".join(f"`{norm}`: {weight:g}" for norm, weight in norms.items()) in rows[member]


def test_what_the_loop_reads():
    method = build_method("ldam-drw+bgp+cmo+progressive-sampling+tau-norm", COUNTS, tau=0.7)
    assert (method.head, method.scale, method.sampler) == ("cosine", 30.0, "progressive")
    assert (method.mixing.name, method.mixing.kwargs["probability"]) == ("cmo", 0.5)
    assert [(stage.name, stage.share, stage.kwargs) for stage in method.stages] == [("tau-norm", 0.0, {"tau": 0.7})]
    assert build_method("bgp", COUNTS).record["note"] == "bgp: reconstruction; class-balanced Brier score"
    assert build_method("ce", COUNTS).record["note"] == ""


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(KINDS["losses"])), st.lists(st.sampled_from(list(KINDS["penalties"])), unique=True))
def test_penalties_add_up_on_any_loss(loss, penalties):
    outputs, labels = batch()

    def value(*parts):
        return ref.objective("+".join([loss, *parts]), COUNTS, outputs, labels)

    expected = value() + sum(value(penalty) - value() for penalty in penalties)
    torch.testing.assert_close(value(*penalties), expected)
