"""A landscape file in a notebook: `landscape.open("landscape.h5")` shows itself, gives xarray and draws."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from foundation.errors import InputError, one_of
from landscape.comparison.compare import Comparison, compare
from landscape.comparison.formatting import figure, percent
from landscape.comparison.run_colors import LIGHT
from landscape.comparison.spectrum import spectra_of
from landscape.comparison.table import View
from landscape.files.landscape_file import Measurement


def open(path: str | Path) -> LandscapeFile:
    """Opens a landscape file.

    Args:
        path: A `landscape.h5`.

    Returns:
        Its measurements as xarray and as figures; in a notebook it shows a summary of itself.

    Raises:
        InputError: The file is missing or no landscape file.
    """
    return LandscapeFile(compare([Path(path)]))


class LandscapeFile:
    """What one landscape file holds, made by `open`.

    Args:
        opened: The file, compared with no other.
    """

    def __init__(self, opened: Comparison) -> None:
        (self._run,), self._rows, self._table = opened.runs, opened.rows, opened.table

    @property
    def path(self) -> Path:
        """The file."""
        return self._run.landscape.path

    @property
    def measurements(self) -> tuple[str, ...]:
        """What was measured, such as `hessian/train`; unfinished ones too."""
        return tuple(f"{m.analysis}/{m.name}" for m in self._run.landscape.measurements)

    def evaluation(self, name: str = "train") -> xr.Dataset:
        """Loss and accuracy of every subset.

        Args:
            name: The measurement's name, by default its split.

        Returns:
            Variables over `subset`.
        """
        return self._dataset("evaluation", name)

    def hessian(self, name: str = "train") -> xr.Dataset:
        """Eigenvalues, residuals, trace, density and verdict of every subset.

        Args:
            name: The measurement's name, by default its split.

        Returns:
            Variables over `subset` and their own dimensions.
        """
        return self._dataset("hessian", name)

    def sharpness(self, name: str = "train") -> xr.Dataset:
        """Sharpness of every subset at every radius.

        Args:
            name: The measurement's name, by default its split.

        Returns:
            Variables over `subset` and `radius`.
        """
        return self._dataset("sharpness", name)

    def surface(self, name: str = "train") -> xr.Dataset:
        """Loss and accuracy of every subset over a plane.

        Args:
            name: The measurement's name, by default its split.

        Returns:
            Variables over `subset`, `b` and `a`.
        """
        return self._dataset("surface", name)

    def summary(self, name: str = "train") -> xr.Dataset:
        """One number a subset: counts, loss, accuracy, eigenvalues, trace, sharpness.

        Args:
            name: The measurements' name, by default their split.

        Returns:
            Variables over `subset`.
        """
        columns = self._view(name).columns[0]
        variables = {key: ("subset", column.value) for key, column in columns.items()}
        coordinates = {
            "subset": [row.name for row in self._rows],
            "label": ("subset", [row.title for row in self._rows]),
        }
        return xr.Dataset(variables, coords=coordinates, attrs={"path": str(self.path)})

    def plot_measure(self, measure: str = "top", name: str = "train") -> go.Figure:
        """A measure of every class from head to tail, with its error bars.

        Args:
            measure: Its key, such as `top`, `loss`, `accuracy` or `trace`.
            name: The measurements' name, by default their split.

        Returns:
            A Plotly figure.
        """
        column = self._view(name).columns[0].get(measure)
        known = {m.key: m for m in self._table.measures}
        if column is None:
            raise one_of("measure", measure, self._view(name).columns[0])
        classes = [i for i, row in enumerate(self._rows) if row.kind == "class"] or list(range(len(self._rows)))
        value = column.value[classes]
        error = None
        if column.low is not None and column.high is not None:
            low, high = value - column.low[classes], column.high[classes] - value
            error = {"type": "data", "symmetric": False, "array": high, "arrayminus": low}
        drawn = go.Scatter(
            x=list(range(len(classes))), y=value, error_y=error, mode="markers", marker={"size": 9, "color": LIGHT[0]}
        )
        made = self._figure(drawn, f"{known[measure].title}, {name}")
        made.update_xaxes(tickvals=list(range(len(classes))), ticktext=[_text(self._rows[i].title) for i in classes])
        logs = known[measure].scale != "linear" and bool(np.all(value[np.isfinite(value)] > 0))
        made.update_yaxes(title=known[measure].title, type="log" if logs else "linear")
        return made

    def plot_spectrum(self, subset: str = "all", name: str = "train") -> go.Figure:
        """The share of a subset's eigenvalues beyond ±|λ|, on logarithmic axes.

        Args:
            subset: Its name, such as `few` or `class:3`.
            name: The measurement's name, by default its split.

        Returns:
            A Plotly figure: a line of the positive and one of the negative eigenvalues.
        """
        measurement = self._measurement("hessian", name)
        self._position(measurement, subset)
        row = next(i for i, row in enumerate(self._rows) if row.name == subset)
        measure = spectra_of(self._run, self._rows, name).get(row)
        if measure is None:
            raise InputError(f"hessian/{name} holds no spectrum of {subset!r}: measure it again to have one")
        nodes, share = measure.beyond()
        made = self._figure([], f"Spectrum of {_text(subset)}, {name}")
        for sign, words, color in ((1, "λ ≥ x", LIGHT[0]), (-1, "λ ≤ −x", LIGHT[1])):
            side = nodes * sign > 0
            order = np.argsort(sign * nodes[side])
            x, y = np.abs(nodes[side][order]), share[side][order]
            made.add_scatter(x=x, y=y, name=words, line={"color": color, "shape": "vh"})
        made.update_xaxes(title="|eigenvalue|", type="log").update_yaxes(
            title="share of eigenvalues beyond", type="log"
        )
        return made.update_layout(showlegend=True)

    def plot_surface(self, subset: str = "all", name: str = "train", *, flat: bool = True) -> go.Figure:
        """The loss surface of a subset, its logarithm in color.

        Args:
            subset: Its name, such as `few` or `class:3`.
            name: The measurement's name, by default its split.
            flat: Contours rather than 3-D.

        Returns:
            A Plotly figure.
        """
        measurement = self._measurement("surface", name)
        loss = np.asarray(measurement.data["loss"][self._position(measurement, subset)], dtype=float)
        height = np.log10(np.where(loss > 0, loss, np.nan))
        kind = go.Contour if flat else go.Surface
        extra = {"contours": {"coloring": "heatmap"}, "connectgaps": False} if flat else {}
        drawn = kind(
            x=measurement.data.get("a"), y=measurement.data.get("b"), z=height, colorscale="Viridis",
            colorbar={"title": "log₁₀ loss"}, customdata=loss,
            hovertemplate="a %{x:.3g}, b %{y:.3g}<br>loss %{customdata:.4g}<extra></extra>", **extra,
        )  # fmt: skip
        made = self._figure(drawn, f"Loss of {_text(subset)}, {name}")
        return made.update_yaxes(scaleanchor="x", constrain="domain") if flat else made

    def __repr__(self) -> str:
        lines = [f"landscape of {self._run.name!r} ({self.path})"]
        for m in self._run.landscape.measurements:
            state = "" if m.complete else ", unfinished"
            lines += [f"  {m.analysis}/{m.name}: {len(m.subset)} subsets{state}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        view = self._table.views[0] if self._table.views else None
        head = f"<p><b>Landscape of {html.escape(self._run.name)}</b>: {html.escape(', '.join(self.measurements))}</p>"
        if view is None:
            return head
        columns = view.columns[0]
        keys = [k for k in ("train_count", "accuracy", "loss", "top", "bottom", "trace") if k in columns]
        known = {m.key: m for m in self._table.measures}
        titles = "".join(f"<th>{html.escape(known[key].short)}</th>" for key in keys)
        lines = []
        for i, row in list(enumerate(self._rows))[:40]:
            values = ((known[key], float(columns[key].value[i])) for key in keys)
            cells = "".join(f"<td>{percent(v) if m.percent else figure(v)}</td>" for m, v in values)
            lines.append(f"<tr><td>{html.escape(row.title)}</td>{cells}<td>{view.verdicts[0][i]}</td></tr>")
        rest = f"<p>… and {len(self._rows) - 40} more</p>" if len(self._rows) > 40 else ""
        return (
            f"{head}<table><thead><tr><th>{html.escape(view.name)}</th>{titles}<th>negative curvature</th></tr></thead>"
            f"<tbody>{''.join(lines)}</tbody></table>{rest}"
        )

    def _view(self, name: str) -> View:
        for view in self._table.views:
            if view.name == name:
                return view
        raise one_of("measurement", name, [view.name for view in self._table.views])

    def _measurement(self, analysis: str, name: str) -> Measurement:
        found = self._run.of(analysis)
        if name not in found:
            raise one_of(f"{analysis} measurement", name, found)
        return found[name]

    def _position(self, measurement: Measurement, subset: str) -> int:
        if subset not in measurement.subset:
            raise one_of("subset", subset, measurement.subset)
        return measurement.subset.index(subset)

    def _dataset(self, analysis: str, name: str) -> xr.Dataset:
        measurement = self._measurement(analysis, name)
        variables: dict[str, Any] = {}
        coordinates: dict[str, Any] = {
            "subset": list(measurement.subset),
            "label": ("subset", list(measurement.label)),
            "train_count": ("subset", measurement.train_count),
            "measured_count": ("subset", measurement.measured_count),
        }
        for key, values in measurement.data.items():
            dims = _dims(measurement.dims.get(key, ()), values)
            if "/" not in key and dims == (key,):
                coordinates[key] = values
            elif "/" not in key:
                variables[key] = (dims, values)
        facts = {"path": str(self.path), "complete": int(measurement.complete)}
        return xr.Dataset(
            variables, coords=coordinates, attrs={**facts, **{k: str(v) for k, v in measurement.config.items()}}
        )

    def _figure(self, drawn: Any, title: str) -> go.Figure:
        heading = f"{_text(self._run.name)} · {title}"
        return go.Figure(drawn).update_layout(
            template="plotly_white", title=heading, margin={"t": 60}, showlegend=False
        )


def _dims(known: Sequence[str], values: np.ndarray) -> tuple[str, ...]:
    return tuple(known) if len(known) == values.ndim else tuple(f"dim_{axis}" for axis in range(values.ndim))


def _text(name: str) -> str:
    """A name as Plotly's pseudo-HTML shows it unchanged."""
    return html.escape(name, quote=False)
