"""The page of a study: its statements and verdicts, the figure, the means, its limits; one file, readable offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from analyses.engine.answers import QUICK, Answer, seeds_needed
from analyses.engine.numbers import GROUPS, Numbers
from analyses.engine.study import CLAIMS, Study
from analyses.engine.tables import MEANS, means_rows

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ study.name }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
.wide { overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.notice { border-left: 4px solid #b26a00; padding-left: .8rem; }
figure { margin: 1.5rem 0; } svg { max-width: 100%; height: auto; }
</style>
<h1>{{ study.name }}</h1>
<p>{{ study.asks }}</p>
{% if quick %}<p class="notice">A quick run: short trainings that exercise the study. It answers nothing.</p>{% endif %}
<h2>Statements and verdicts</h2>
<p>How far the rules were written before the runs is told under “Limits”; a verdict needs {{ needed }} seeds.
Intervals are over seeds, 95 %; p is adjusted by Holm over the study's statements on differences.</p>
<div class="wide" tabindex="0" role="region" aria-label="Statements and verdicts"><table>
<thead><tr><th>claim</th><th>statement</th><th>verdict</th><th>seeds</th><th>figures</th><th>p</th></tr></thead>
{% for a in answers %}<tr><td>{{ a.question.claim }}</td><td>{{ a.question.text }}</td>
<td class="number"><strong>{{ a.verdict }}</strong></td>
<td>{{ a.seeds }}</td><td>{{ a.figures }}</td><td class="number">{{ "%.2g" % a.p if a.p == a.p else "" }}</td></tr>
{% endfor %}</table></div>
<p>{% for letter, claim in claims.items() %}({{ letter }}) {{ claim }}.{{ " " }}{% endfor %}</p>
<figure role="img" aria-label="Estimates and intervals of the statements in the table above">{{ figure }}</figure>
{% for title, rows in means %}{% if rows %}<h2>Test {{ title }}</h2>
<div class="wide" tabindex="0" role="region" aria-label="Test {{ title }}"><table>
<thead><tr><th>run</th><th>seeds</th>{% for g in groups %}<th>{{ g }}</th>{% endfor %}</tr></thead>
{% for name, seeds, cells in rows %}<tr><td>{{ name }}</td><td>{{ seeds }}</td>
{% for c in cells %}<td class="number">{{ c }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endif %}{% endfor %}
{% if study.limits %}<h2>Limits</h2><ul>{% for limit in study.limits %}<li>{{ limit }}</li>{% endfor %}</ul>{% endif %}
<p>{% if networks %}<a href="networks.html">The networks, class by class</a>. {% endif %}Every number:
<a href="values.csv">values.csv</a>, <a href="pairs.csv">pairs.csv</a>, <a href="answers.csv">answers.csv</a>.</p>
</html>
"""


def study_page(study: Study, answers: Sequence[Answer], numbers: Numbers, figure: Path, *, networks: bool) -> str:
    """The page as HTML.

    Args:
        study: The study.
        answers: Its answers.
        numbers: Its numbers.
        figure: The SVG file that is put into the page.
        networks: Whether the toolkit's page of the networks lies beside it.

    Returns:
        The text of the file.
    """
    drawing = figure.read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(PAGE).render(
        study=study,
        answers=answers,
        quick=any(answer.verdict == QUICK for answer in answers),
        needed=seeds_needed(study),
        figure=Markup(drawing[drawing.index("<svg") :]),
        means=[(title, means_rows(numbers, measure)) for measure, title in MEANS],
        groups=GROUPS,
        claims={letter: claim for letter, claim in CLAIMS.items() if letter in {q.claim for q in study.questions}},
        networks=networks,
    )
