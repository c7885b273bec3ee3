"""What the demo found, in words and pictures: the page ``report.html``, and the files of its figures."""

import os
from pathlib import Path

import torch

import elman
from elman.errors import MissingExtraError
from elman.insight import figures, report
from elman.insight.figures import Flow, Picture
from elman.insight.gradient_flow import GradientFlow
from elman.insight.report import Command
from elman.study.demo import COUNTED, ELMAN, FOLDERS, GRU, LSTM, MIXTURE, Findings
from elman.text.files import write_atomically

PAGE, CURVES, GRADIENT = "report.html", "curves.png", "figure-gradient.png"
TITLE = "Three models read the Python manual"


def write(found: Findings) -> tuple[Path, str | None]:
    """Writes the page and its figures into ``found.out``. Returns the page's path, and what was missing."""
    try:
        pictures, missing = _pictures(found), None
    except MissingExtraError as error:
        pictures, missing = None, f"{error.came} {error.do}"
    if pictures is not None:
        for name, picture in zip((CURVES, GRADIENT), pictures, strict=True):
            write_atomically(found.out / name, picture.png)
    write_atomically(found.out / PAGE, page(found, pictures, missing))
    return found.out / PAGE, missing


def page(found: Findings, pictures: tuple[Picture, Picture] | None, missing: str | None) -> str:
    """The page as HTML. Without ``pictures`` it says in their place what is ``missing``."""

    def shown(number: int, says: str, caption: str) -> str:
        if pictures is None:
            return report.missing(f"A figure is left out: {says}. {missing}")
        return report.figure(pictures[number], says, caption)

    sections = [
        report.section(
            "Who predicts best",
            report.paragraph(verdict(found)),
            report.table(found.rows, _about_the_table(found)),
        ),
        report.section(
            "How they learned",
            shown(0, "validation perplexity against seconds of training", _about_the_curves(found)),
        ),
        report.section(
            "Why the Elman network forgets",
            report.paragraph(
                "Training asks: had the state been a little different k words ago, how would today’s loss "
                "differ? The answer travels back through every step in between, and each step multiplies it: "
                "in the Elman network by a matrix and by the slope of tanh, which is at most 1. A long "
                "product of factors below 1 vanishes. The LSTM’s memory has a way back where the only factor "
                "is the forget gate, and that it can learn to hold near 1."
            ),
            shown(
                1, "share of the gradient left by distance, for Elman, GRU and LSTM", _about_gradients(found)
            ),
        ),
        report.section(
            "What they write",
            report.paragraph(_about_the_samples(found)),
            report.samples(found.samples, found.unknown),
        ),
        report.section("Go on", report.commands(commands(found))),
    ]
    return report.page(TITLE, _lead(found), sections, _footer(found))


def commands(found: Findings) -> list[Command]:
    """What to try next; the paths are those of this demo's runs."""
    lstm = found.out / FOLDERS[LSTM]
    return [
        Command("let the LSTM write on", f'elman generate {lstm} --prompt "{found.plan.prompt}" --tokens 60'),
        Command(
            "how likely is a sentence of yours? (nats; nearer to 0 is likelier)",
            f'echo "the function returns a list of strings ." | elman score {lstm}',
        ),
        Command("give all models more time", "elman demo --minutes 15"),
        Command(
            "train on a text of your own, letter by letter",
            "elman train --task language-model --data novel.txt --unit characters --out runs/novel",
        ),
        Command("the published results that can be repeated", "elman recipes"),
    ]


def verdict(found: Findings) -> str:
    """Who won and by how much, as it came out."""
    ordered = sorted(found.rows, key=lambda row: row.perplexity)
    alone = [row for row in ordered if row.name != MIXTURE]
    first, second, third = (f"the {_called(row.name)}" for row in alone)
    said = (
        f"Alone, {first} is best with perplexity {alone[0].perplexity:,.1f}, before {second} with "
        f"{alone[1].perplexity:,.1f} and {third} with {alone[2].perplexity:,.1f}. "
    )
    mixture = found.row(MIXTURE).perplexity
    mixing = f"{found.weights[0]:.2f} of the LSTM’s probability and {found.weights[1]:.2f} of the 5-gram’s"
    if ordered[0].name != MIXTURE:
        return said + f"Mixing LSTM and 5-gram did not help here: {mixing} give {mixture:,.1f}."
    gain = 1 - mixture / alone[0].perplexity
    return said + (
        f"But LSTM and 5-gram err in different places: {mixing} give {mixture:,.1f}, {gain:.0%} lower than "
        f"{first} alone."
    )


def _lead(found: Findings) -> str:
    train, _, test = found.tokens
    return (
        f"A counted 5-gram, an Elman network and an LSTM learned from the same {train:,} words of Python’s "
        f"own documentation, in {_duration(found.seconds)} all told. Then each had to predict {test:,} words "
        "from documents that none had seen, one word at a time."
    )


def _about_the_table(found: Findings) -> str:
    return (
        "Perplexity: among how many equally likely words a model hesitates at each step, on the average. "
        f"Lower is better; the bars show it. All four are measured on the same {found.tokens[2]:,} words. "
        "The 5-gram’s parameters are its n-grams. Seconds are of counting or training; the mixture’s are "
        "those of both its parts and of fitting its two weights on the validation text. Both networks have "
        f"{found.plan.hidden_size} hidden features and go through the text equally often, each at the "
        f"learning rate that suits it. All know the same {found.vocabulary_size:,} words."
    )


def _about_the_curves(found: Findings) -> str:
    lstm = next(curve for curve in found.curves if curve.name == LSTM)
    times = "once" if found.epochs == 1 else f"{found.epochs} times"
    said = [
        f"Each network goes through the text {times}, in steps that grow smaller towards the end. The dashed "
        "line is the 5-gram, which counts once and is done."
    ]
    passed = next(
        (s for s, p in zip(lstm.seconds, lstm.perplexity, strict=True) if p < found.counted_valid), None
    )
    if passed is not None:
        said.append(f"The LSTM is below it after {passed:.0f} seconds.")
    if found.cut_short:
        who = " and ".join(f"the {_called(name)}" for name in found.cut_short)
        said.append(f"The time was over before {who} had gone through the text so often: a slow machine.")
    return " ".join(said)


def _about_gradients(found: Findings) -> str:
    trained = {name: flow for name, flow, is_trained in found.flows if is_trained}
    fresh = {name: flow for name, flow, is_trained in found.flows if not is_trained}
    k = min(20, len(trained[ELMAN].norms) - 1)
    return (
        "The norm of the gradient of one word’s loss with respect to the whole state k words earlier (h; in "
        "the LSTM, h and c), as a share of the one at k = 0, on the average over the validation text. Each "
        f"line down is a tenth of the line above. Read it at {k} words back: before training (dashed) "
        f"{_share(fresh[ELMAN], k)} is left in the Elman network, {_share(fresh[GRU], k)} in the GRU and "
        f"{_share(fresh[LSTM], k)} in the LSTM, whose forget gate starts at about 0.73; after training "
        f"(solid) {_share(trained[ELMAN], k)} in the Elman network and {_share(trained[LSTM], k)} in the "
        f"LSTM. Less than a hundredth is left {_from(trained[ELMAN])} in the trained Elman network, and "
        f"{_from(trained[LSTM])} in the trained LSTM. The GRU is shown as it starts: the demo trains none."
    )


def _about_the_samples(found: Findings) -> str:
    return (
        f"Each model was given “{found.samples[0].prompt}”, and drew one word after another from its own "
        f"predictions, three times (temperature {found.plan.temperature:g}: likely words a little likelier "
        "still). The 5-gram sees four words back: look for the places where it loses the thread. In this "
        f"text {found.unknown} stands for any rare word, and N for a number."
    )


def _footer(found: Findings) -> str:
    return (
        f"Made by elman demo --minutes {found.plan.minutes:g} --seed {found.plan.seed} · "
        f"Elman {elman.__version__} · PyTorch {torch.__version__} · {os.cpu_count()} CPU cores"
    )


def _pictures(found: Findings) -> tuple[Picture, Picture]:
    flows = [Flow(name, flow.relative, trained) for name, flow, trained in found.flows]
    level = (COUNTED, found.counted_valid)
    return figures.curves_picture(found.curves, level), figures.gradient_picture(flows)


def _called(name: str) -> str:
    return "Elman network" if name == ELMAN else name


def _from(flow: GradientFlow) -> str:
    """
    >>> import numpy as np
    >>> _from(GradientFlow(np.array([2.0, 0.5, 0.01]))), _from(GradientFlow(np.array([2.0, 0.5])))
    ('from 2 words back on', 'nowhere within 1 words')
    """
    reach = flow.reach(0.01)
    return f"nowhere within {len(flow.norms) - 1} words" if reach is None else f"from {reach} words back on"


def _share(flow: GradientFlow, distance: int) -> str:
    """
    >>> import numpy as np
    >>> [_share(GradientFlow(np.array([2.0, norm])), 1) for norm in (0.5, 0.0042, 3e-7)]
    ['25%', '0.21%', '1.5·10⁻⁷']
    """
    share = float(flow.relative[distance])
    if share >= 0.001:
        return f"{100 * share:.2g}%"
    mantissa, exponent = f"{share:.1e}".split("e")
    return f"{mantissa}·10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _duration(seconds: float) -> str:
    """
    >>> _duration(41.6), _duration(185)
    ('42 seconds', '3 minutes and 5 seconds')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} seconds"
    return f"{minutes} minute{'s' if minutes > 1 else ''} and {rest} seconds"
