"""A report page: one HTML file without scripts that needs nothing beside it, dark where the screen is.

Each function returns a piece of HTML and escapes the texts it is given. :func:`page` puts pieces together.

>>> print(section("Which predicts best", paragraph("The one with P > ½.")))
<section>
<h2>Which predicts best</h2>
<p>The one with P &gt; ½.</p>
</section>
"""

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from elman.insight.figures import Picture

STYLE = """
:root {
  color-scheme: light dark;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  --serif: Charter, "Iowan Old Style", "Source Serif 4", "Noto Serif", Georgia, serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  --ground: #fdfcfa; --raised: #f4f2ee; --ink: #23262d; --quiet: #5f646e; --faint: #d9dbe0;
  --5-gram: #6a6f7a; --elman: #c8561b; --gru: #2b8a5f; --lstm: #2a5fc4; --lstm-5-gram: #7d3fb2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #16181d; --raised: #20232a; --ink: #e6e7ea; --quiet: #a2a7b1; --faint: #3a3e47;
    --5-gram: #a9aeb9; --elman: #f08a55; --gru: #5fc796; --lstm: #7fa8f5; --lstm-5-gram: #c294ee;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 17px/1.6 var(--sans); }
main { max-width: 800px; margin: 0 auto; padding: 56px 20px 72px; }
h1 { font: 700 40px/1.15 var(--serif); letter-spacing: -.01em; margin: 0 0 16px; text-wrap: balance; }
h2 { font: 700 25px/1.25 var(--serif); margin: 0 0 10px; text-wrap: balance; }
p { margin: 0 0 14px; max-width: 68ch; }
.lead { font-size: 19px; color: var(--quiet); }
section { margin-top: 56px; }
figure { margin: 22px 0 0; }
figcaption { margin-top: 10px; font-size: 15px; line-height: 1.55; color: var(--quiet); max-width: 72ch; }
svg { display: block; width: 100%; height: auto; }
.narrow { display: none; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 600; font-size: 14px; color: var(--quiet); }
th, td { padding: 10px 12px 10px 0; text-align: right; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; }
th:last-child, td:last-child { padding-right: 0; }
td:first-child { font-weight: 600; white-space: nowrap; }
td:first-child::before { content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 50%;
  background: var(--own, var(--faint)); margin-right: 9px; }
tr.best td:last-child { font-weight: 700; }
.bar { display: block; height: 5px; margin: 5px 0 1px auto; border-radius: 3px;
  background: var(--own, var(--faint)); }
.samples { display: grid; grid-template-columns: 1fr; gap: 20px; margin-top: 22px; }
.samples > div { background: var(--raised); border-top: 3px solid var(--own, var(--faint));
  border-radius: 4px; padding: 14px 18px 6px; }
.samples h3 { font: 600 15px/1.4 var(--sans); color: var(--own, var(--ink)); margin: 0 0 8px; }
.samples p { font: 16px/1.55 var(--serif); margin: 0 0 12px; max-width: none; overflow-wrap: anywhere; }
.samples p + p { border-top: 1px solid var(--faint); padding-top: 12px; }
.samples b { font-weight: 600; }
.samples i { color: var(--quiet); }
pre { background: var(--raised); border-radius: 4px; padding: 14px 18px; margin: 14px 0 0; overflow-x: auto;
  font: 14px/1.75 var(--mono); }
pre span { color: var(--quiet); white-space: pre-wrap; }  /* commands scroll, what they do is read */
code { font: .92em var(--mono); }
.missing { background: var(--raised); border-left: 3px solid var(--elman); padding: 12px 16px; }
footer { margin-top: 64px; padding-top: 16px; border-top: 1px solid var(--faint); font-size: 14px;
  color: var(--quiet); }
@media (max-width: 600px) {
  body { font-size: 16px; }
  main { padding: 32px 16px 48px; }
  h1 { font-size: 31px; }
  h2 { font-size: 22px; }
  .lead { font-size: 17px; }
  section { margin-top: 44px; }
  .wide { display: none; }
  .narrow { display: block; }
  table { font-size: 15px; }
  th { font-size: 13px; }
  th, td { padding-right: 8px; }
  .samples > div { padding: 12px 14px 4px; }
  .samples p { font-size: 15px; }
  pre { margin-left: -16px; margin-right: -16px; border-radius: 0; padding: 12px 16px; font-size: 12.5px; }
}
@media print { section { break-inside: avoid; } }
"""


class Row(NamedTuple):
    """One line of the table: ``seconds`` of training (or counting), ``perplexity`` of the test text."""

    name: str
    parameters: int
    seconds: float
    perplexity: float


class Samples(NamedTuple):
    """What a model wrote: each of ``texts`` begins after ``prompt``, which it was given."""

    name: str
    prompt: str
    texts: Sequence[str]


class Command(NamedTuple):
    """A command to go on with, and what it does."""

    does: str
    command: str


def page(title: str, lead: str, sections: Sequence[str], footer: str) -> str:
    """The whole file. ``sections`` are pieces of HTML; the other texts are escaped."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{_prose(lead)}</p>\n'
        + "\n".join(sections)
        + f"\n<footer>{escape(footer)}</footer>\n</main>\n</body>\n</html>\n"
    )


def section(heading: str, *pieces: str) -> str:
    return "\n".join(["<section>", f"<h2>{escape(heading)}</h2>", *pieces, "</section>"])


def paragraph(text: str) -> str:
    return f"<p>{_prose(text)}</p>"


def missing(text: str) -> str:
    """A notice in the place of what could not be made."""
    return f'<p class="missing">{escape(text)}</p>'


def table(rows: Sequence[Row], caption: str) -> str:
    """The models, the best in bold, with a bar as long as its perplexity."""
    worst, best = max(row.perplexity for row in rows), min(row.perplexity for row in rows)
    lines = []
    for row in rows:
        bar = f'<span class="bar" style="width: {100 * row.perplexity / worst:.0f}%"></span>'
        mark = " class=best" if row.perplexity == best else ""
        lines.append(
            f'<tr{mark} style="--own: var(--{variable(row.name)})">'
            f"<td>{escape(row.name)}</td><td>{row.parameters:,}</td><td>{duration(row.seconds)}</td>"
            f"<td>{row.perplexity:,.1f}{bar}</td></tr>"
        )
    head = "".join(f"<th>{name}</th>" for name in ("model", "parameters", "seconds", "perplexity"))
    return (
        f"<figure>\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + f"\n</tbody>\n</table>\n<figcaption>{_prose(caption)}</figcaption>\n</figure>"
    )


def figure(picture: Picture, says: str, caption: str) -> str:
    """A figure as large as the screen allows; ``says`` is read out where it cannot be seen."""
    drawn = "\n".join(
        f'<div class="{size}" role="img" aria-label="{escape(says)}">{svg}</div>'
        for size, svg in (("wide", picture.wide), ("narrow", picture.narrow))
    )
    return f"<figure>\n{drawn}\n<figcaption>{_prose(caption)}</figcaption>\n</figure>"


def samples(groups: Sequence[Samples], faint: str | None = None) -> str:
    """Texts by model, the prompt in bold; the token ``faint`` (such as ``<unk>``) stands back."""
    pieces = []
    for group in groups:
        texts = "".join(
            f"<p><b>{escape(group.prompt)}</b>{_stand_back(escape(text), faint)}</p>" for text in group.texts
        )
        pieces.append(
            f'<div style="--own: var(--{variable(group.name)})"><h3>{escape(group.name)}</h3>{texts}</div>'
        )
    return '<div class="samples">\n' + "\n".join(pieces) + "\n</div>"


def commands(lines: Sequence[Command]) -> str:
    written = [f"<span># {escape(line.does)}</span>\n{escape(line.command)}" for line in lines]
    return "<pre>" + "\n".join(written) + "</pre>"


def duration(seconds: float) -> str:
    """Seconds, to a tenth; below one to a hundredth.

    >>> duration(0.0249), duration(1234.56)
    ('0.02', '1,234.6')
    """
    return f"{seconds:,.1f}" if seconds >= 1 else f"{seconds:.2f}"


def variable(name: str) -> str:
    """The name of a model's colour among the style's variables: ``LSTM + 5-gram`` is ``lstm-5-gram``."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def _prose(text: str) -> str:
    """Escaped, and without a break of the line between 5 and gram."""
    return re.sub(r"(\d)-(?=grams?\b)", r"\1&#8209;", escape(text))


def _stand_back(text: str, faint: str | None) -> str:
    return text.replace(escape(faint), f"<i>{escape(faint)}</i>") if faint else text
