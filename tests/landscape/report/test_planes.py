"""Planes and lines that several files or networks share, in a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

from landscape.report import write_report
from tests.landscape.report.browser import opened
from tests.landscape.report.synthetic import COUNTS, NAMES, open_recording, put, subsets_of, write_run


def test_a_line_tells_the_barrier_that_the_file_states(browser: Browser, tmp_path: Path) -> None:
    file = write_run(tmp_path / "ce" / "landscape.h5", points=5)
    subsets = subsets_of(COUNTS, NAMES)
    with open_recording(file, "surface", "to-bgp", subsets, plane="checkpoints") as record:
        record.scale("a", np.array([0.0, 1.0, 2.0, 3.0]))
        put(record, "loss", np.tile([0.2, 1.75, 0.5, 9.0], (len(subsets), 1)), ("subset", "a"))
        put(record, "barrier", np.arange(len(subsets)) + 0.25, ("subset",))
        put(record, "trajectory/coordinates", np.array([[0.0, 0.0], [2.0, 0.0]]), ("point", "axis"))
        record.finish()
    report = write_report([file], tmp_path / "report.html").path
    with opened(browser, report, address="#line=to-bgp&row=class%3A2") as page:
        page.settle("line")
        caption = page.page.locator("#line .caption").inner_text()
        assert (
            "above the straight line between the losses of both ends (Entezari et al., ICLR 2022): ce 7.25." in caption
        )
        page.page.locator("#line select[data-key=line]").select_option("between")  # a line whose file states none
        page.settle("line")
        assert "Barrier" not in page.page.locator("#line .caption").inner_text()


def test_planes_name_their_axes_and_random_ones_stand_side_by_side(browser: Browser, tmp_path: Path) -> None:
    file = write_run(tmp_path / "ce" / "landscape.h5", points=5)
    subsets, ticks = subsets_of(COUNTS, NAMES), np.linspace(-1, 1, 5)
    for name, plane, share in (("train-1", "random", 1.0), ("train-eigen-few", "eigen", 0.01)):
        with open_recording(
            file, "surface", name, subsets, extent={"tolerance": 0.01}, plane=plane, split="train"
        ) as record:
            record.scale("a", share * ticks)
            record.scale("b", ticks)
            record.note("axes", [f"first of {name}", f"second of {name}"])
            put(record, "loss", np.ones((len(subsets), 5, 5)) + ticks**2, ("subset", "b", "a"))
            put(record, "kept_tolerance", np.where(np.arange(len(subsets)) == 4, 0.03, 0.005), ("subset",))
            record.finish()
    report = write_report([file], tmp_path / "report.html").path
    titles = "Object.keys(plot.layout).filter((k) => /^[xy]axis/.test(k)).map((k) => plot.layout[k].title.text)"
    with opened(browser, report, address="#plane=train-eigen-few") as page:
        assert page.plotted("surface", titles) == ["first of train-eigen-few", "second of train-eigen-few"]
        width, height = page.plotted("surface", "[plot._fullLayout.xaxis._length, plot._fullLayout.yaxis._length]")
        assert height > 0.7 * width  # though one axis is a hundredth of the other
        assert "“few” of ce keeps 3.0 % of its range, not 1.0 %." in page.page.locator("#surface .caption").inner_text()
        page.page.locator("#surface select[data-key=plane]").select_option("*random")
        shown = page.plotted("surface", "plot.data.filter((t) => t.type === 'contour').length")
        assert shown == 2 and len(set(page.plotted("surface", titles)[:2])) == 2
        assert "in random planes" in page.page.locator("#surface .caption").inner_text()
