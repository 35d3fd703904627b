"""What was measured, how far and by what, as words for the page's last panel."""

from __future__ import annotations

import json
from typing import Any

from landscape.comparison.runs import Run


def provenance_of(run: Run) -> list[dict[str, Any]]:
    """The origin of every measurement of a run.

    Args:
        run: The run.

    Returns:
        One entry a measurement: `what` it is, whether it is `complete`, and `config`, `extent`, `made` and `spent` in
        words.
    """
    return [
        {
            "what": f"{m.analysis}/{m.name}",
            "complete": m.complete,
            "config": _pairs(m.config),
            "extent": _pairs(m.extent),
            "made": _pairs(m.provenance),
            "spent": _pairs(
                {k: v for k, v in m.attributes.items() if k not in ("analysis", "config_sha256", "identity")}
            ),
        }
        for m in run.landscape.measurements
    ]


def _pairs(values: Any) -> str:
    return " · ".join(f"{key} {_short(value)}" for key, value in values.items() if value not in (None, "", [], {}))


def _short(value: Any) -> str:
    text = (
        f"{value:.6g}"
        if isinstance(value, float)
        else json.dumps(value)
        if isinstance(value, dict | list)
        else str(value)
    )
    return text if len(text) <= 200 else text[:199] + "…"
