"""The panel along training: what a tracker's file holds, as it is, beside a measured network or alone."""

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape.report import write_report
from tests.landscape.report.browser import opened


def tracked(folder, points=4):
    torch.manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 12, 5]))
    images, net = torch.randn(37, 4) + labels[:, None], nn.Linear(4, 3)
    tracker = landscape.Tracker((images, labels), every=1, out=folder / "track.h5", budget=1e9, radius=0.2)
    for step in range(1, points + 1):
        with torch.no_grad():
            net.weight.mul_(1.3)
        tracker.step(net, step=step, epoch=step / 2)
    return net, (images, labels), tracker.track


def test_the_panel_draws_what_was_tracked_and_tells_what_was_left_out(browser, tmp_path):
    net, samples, track = tracked(tmp_path)
    landscape.measure(landscape.Subject(net, samples), tmp_path / "landscape.h5")
    row = track.subset.index("few")
    with opened(
        browser, write_report([tmp_path / "landscape.h5"], tmp_path / "a.html").path, address="#row=few"
    ) as page:
        drawn = page.plotted("track", "plot.data[0]")
        np.testing.assert_allclose(drawn["x"], track.epoch)
        np.testing.assert_allclose(drawn["y"], np.log10(track.top[:, row]), rtol=1e-6)
        page.page.locator("#track [data-value=cosine]").click()
        drawn = page.plotted("track", "plot.data[0]")
        np.testing.assert_allclose(drawn["y"], track.cosine[:, row, track.subset.index("all")], rtol=1e-6)
        page.page.locator("#track [data-value=sam]").click()
        page.settle("track")
        assert "by a step of 0.2, of “few”" in page.page.locator("#track .caption").inner_text()
        assert "left out" not in page.page.locator("#track .caption").inner_text()


@pytest.mark.exhaustive
def test_a_track_alone_is_a_page_and_a_page_without_one_has_no_panel(browser, tmp_path):
    net, samples, _ = tracked(tmp_path / "run")
    with opened(browser, write_report([tmp_path / "run" / "track.h5"], tmp_path / "a.html").path) as page:
        assert page.plotted("track", "plot.data.length") == 1
    landscape.measure(landscape.Subject(net, samples), tmp_path / "landscape.h5")
    with opened(browser, write_report([tmp_path / "landscape.h5"], tmp_path / "b.html").path) as page:
        assert page.page.locator("#track").is_hidden()
