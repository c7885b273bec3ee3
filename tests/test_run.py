"""What a loaded run does with text, for every kind of model and token."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import elman
from elman import recipe as recipes
from elman.corpora import open_corpus
from elman.decoding import generate
from elman.errors import OptionError, RecipeError, RunError, TextError, TokenError
from elman.fused import library
from elman.models import RecurrentLanguageModel, StreamedLanguageModel
from elman.run import Run, before, build_model
from elman.training import journal, tensorfile
from elman.training.counted import count
from elman.training.folder import RunFolder
from elman.training.loop import train

KINDS = [(unit, kind) for unit in ("words", "characters") for kind in ("recurrent", "counted")]
WORDS = ["the", "cat", "sees", "a", "dog", "and", "runs", "home", "."]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 sentences, blank lines among them, the last one unfinished."""
    draw = random.Random(7)
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(3, 8))) for _ in range(60)]
    lines[50] = lines[55] = ""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    torch.set_num_threads(1)
    paths = {}
    for unit, kind in KINDS:
        toml = f'[data]\npath = "{text}"\n[text]\nunit = "{unit}"\nshares = [0.6, 0.2, 0.2]\n[model]\n'
        toml += f'kind = "{kind}"\n' + ("order = 3\n" if kind == "counted" else "hidden_size = 12\n")
        toml += (
            "" if kind == "counted" else "dropout_output = 0.3\n[train]\nepochs = 2\nbatch = 3\nsteps = 9\n"
        )
        recipe = recipes.parse(toml, "tiny")
        corpus = open_corpus(recipe.corpus, recipe.text)
        path = paths[unit, kind] = tmp_path_factory.mktemp("runs") / f"{unit}-{kind}"
        folder = RunFolder.create(path, recipes.to_toml(recipe), corpus.vocabulary)
        if isinstance(recipe.model, recipes.CountedOptions):
            count(corpus.train, corpus.valid, corpus.vocabulary, recipe.model, folder)
        else:
            model = build_model(recipe.model, corpus.vocabulary, seed=1)
            start_id = corpus.vocabulary.start_id
            train(model, corpus.train, corpus.valid, start_id, recipe.train, folder, device="cpu")
    return paths


@pytest.fixture(params=KINDS, ids="-".join)
def run(request: pytest.FixtureRequest, trained: dict[tuple[str, str], Path]) -> Run:
    return elman.load(trained[request.param])


def test_scores_of_lines_add_up_to_the_evaluation(run: Run, text: Path) -> None:
    whole = run.evaluate(data=text)
    with text.open(encoding="utf-8") as lines:
        assert -sum(run.score(lines)) == pytest.approx(whole.nats, rel=1e-6)
    ended = text.with_name("ended.txt")
    ended.write_text(text.read_text() + "\n")
    without_ends = run.score(text.read_text().split("\n"))
    assert -sum(without_ends) == pytest.approx(run.evaluate(data=ended).nats, rel=1e-6)


def test_chunks_do_not_matter_to_evaluation_and_long_lines_not_to_scores(
    run: Run, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.evaluate("test")
    assert run.evaluate("test", chunk=4).nats == pytest.approx(whole.nats, rel=1e-6)
    line = text.read_text().replace("\n", " ")
    (expected,) = run.score([line])
    monkeypatch.setattr("elman.run.CHUNK", 5)
    assert list(run.score([line])) == pytest.approx([expected], rel=1e-6)


def test_the_validation_text_costs_what_training_said(run: Run) -> None:
    told = [event for event in journal.read(run.folder.journal) if event["event"] == "evaluation"]
    best = min(event["nats_per_token"] for event in told)
    assert run.evaluate("valid").nats_per_token == pytest.approx(best, rel=1e-6)


def test_independent_lines_do_not_see_each_other(run: Run) -> None:
    one, two = "the cat sees\n", "a dog runs home\n"
    alone = [*run.score([one]), *run.score([two])]
    assert list(run.score([one, two], independent=True)) == alone
    assert next(run.score([one, two])) == alone[0]
    if isinstance(run.model, torch.nn.Module):
        assert list(run.score([one, two]))[1] != alone[1]


def test_a_score_comes_as_soon_as_its_line(run: Run) -> None:
    asked = []

    def lines() -> object:
        for line in ("a cat\n", "\n", "a dog\n"):
            asked.append(line)
            yield line

    scores = run.score(lines())
    assert next(scores) < 0
    assert asked == ["a cat\n"]
    blank = next(scores)
    assert blank == 0 if run.recipe.text.unit == "words" else blank < 0


def test_steps_add_up_to_the_score(run: Run) -> None:
    line = "a dog sees the cat\n"
    tokens = run.tokeniser.tokens(line)
    prediction, total = run.start(), 0.0
    for token in tokens:
        total += float(prediction.log_probabilities[run.vocabulary.id(token)])
        prediction = run.step(token, prediction.state)
        assert float(prediction.log_probabilities.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert [total] == pytest.approx(list(run.score([line])), rel=1e-5)
    first = run.step(run.vocabulary.id(tokens[0]))
    again = run.step(tokens[0], run.start().state)
    assert torch.equal(first.log_probabilities, again.log_probabilities)


def test_generation_goes_on_from_its_prompt_and_repeats_with_its_seed(run: Run) -> None:
    prompt = "the cat sees"
    drawn = ["".join(run.generate(prompt, 12, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    pieces = list(run.generate(prompt, 12, seed=1))
    assert len(pieces) == 12
    prediction = run.start()
    for id_ in run.tokeniser.encode(prompt, run.vocabulary).tolist():
        prediction = run.step(id_, prediction.state)
    likeliest = run.vocabulary.tokens[int(prediction.log_probabilities.argmax())]
    last = run.tokeniser.tokens(prompt)[-1 if run.recipe.text.unit == "characters" else -2]
    assert list(run.generate(prompt, 1, greedy=True)) == [run.tokeniser.piece(likeliest, last)]


def test_generation_ends_before_the_stop_text(run: Run) -> None:
    whole = "".join(run.generate("a", 60, seed=4))
    stop = whole[17:20]
    assert "".join(run.generate("a", 60, seed=4, stop=stop)) == whole[: whole.index(stop)]
    with pytest.raises(OptionError, match="It is empty"):
        run.generate("a", stop="")


def test_held_back_text_is_given_once_it_cannot_be_the_stop() -> None:
    for stop in ("ab", "aab", "abab", "z"):
        for text in ("xaabab", "aaab", "ababab", "", "xyza"):
            expected = text[: text.find(stop)] if stop in text else text
            for size in (1, 2, 3):
                pieces = [text[at : at + size] for at in range(0, len(text), size)]
                assert "".join(before(stop, pieces)) == expected


@pytest.mark.parametrize("kind", ["recurrent", "counted"])
def test_a_prompt_must_be_known(trained: dict[tuple[str, str], Path], kind: str) -> None:
    run = elman.load(trained["words", kind])
    with pytest.raises(TokenError) as caught:
        run.generate("the\ndogs run")
    assert str(caught.value).splitlines() == [
        "The model was to read 'dogs'.",
        "  It is not among the 11 tokens of the vocabulary; the nearest is 'dog'.",
        "  Use tokens of the vocabulary, or write <unk> for a word that it lacks.",
    ]
    assert len(list(run.generate("the <unk>", 3, seed=1))) == 3
    with pytest.raises(TokenError, match="ids go from 0"):
        run.step(11)
    characters = elman.load(trained["characters", kind])
    with pytest.raises(TokenError, match="The model was to read 'é'"):
        characters.step("é")
    with pytest.raises(TokenError):
        list(characters.score(["café"]))


def test_a_run_cut_short_is_told(trained: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    for unit, kind in KINDS:
        source, path = trained[unit, kind], tmp_path / f"{unit}-{kind}"
        path.mkdir()
        for file in source.iterdir():
            (path / file.name).write_bytes(file.read_bytes())
        weights = path / "best.safetensors"
        whole = weights.read_bytes()
        for size in (0, 5, len(whole) // 2, len(whole) - 1):
            weights.write_bytes(whole[:size])
            with pytest.raises(RunError) as caught:
                elman.load(path)
            lines = str(caught.value).splitlines()
            assert lines[0] == f"{weights} was to be read ({size:,} bytes)."
            assert lines[1].startswith("  It is cut short or damaged: ")
            assert len(lines) == 3
        weights.write_bytes(whole)
        (path / "vocabulary.json").write_bytes(b'{"tokens": ["the"')
        with pytest.raises(TextError, match="was to be read as a vocabulary"):
            elman.load(path)


def test_a_run_without_evaluation_uses_its_last_weights(trained: dict[tuple[str, str], Path]) -> None:
    run = elman.load(trained["words", "recurrent"])
    best = run.evaluate("test").nats
    kept = run.folder.best.rename(run.folder.path / "kept")
    try:
        last = tensorfile.read_weights(run.folder.last)
        used = dict(elman.load(run.folder.path).model.named_parameters())
        assert all(torch.equal(used[name], tensor) for name, tensor in last.items())
        run.folder.last.rename(run.folder.path / "gone")
        with pytest.raises(RunError, match="its training never began"):
            elman.load(run.folder.path)
    finally:
        (run.folder.path / "gone").rename(run.folder.last)
        kept.rename(run.folder.best)
    assert elman.load(run.folder.path).evaluate("test").nats == best


def test_a_blank_text_has_no_perplexity(trained: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    (tmp_path / "blank").write_text("\n \n")
    with pytest.raises(OptionError, match="all its lines are blank"):
        elman.load(trained["words", "counted"]).evaluate(data=tmp_path / "blank")


def test_importing_elman_imports_nothing_large() -> None:
    code = "import sys, elman; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    heavy = {"torch._dynamo", "torch._inductor", "sympy", "matplotlib", "scipy"}
    code = "import sys, torch, elman.study.execute, elman.study.demo_page; from elman.cells import LSTM; "
    code += "LSTM(2, 3).scan(torch.ones(4, 1, 2))[0].sum().backward(); "
    code += f"sys.exit(sorted({heavy} & sys.modules.keys()) or 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = elman.lode  # type: ignore[attr-defined]


@pytest.mark.parametrize("other", ["recurrent", "counted"])
def test_weights_of_another_kind_of_model_are_refused(
    other: str, trained: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    kind = "counted" if other == "recurrent" else "recurrent"
    copy = shutil.copytree(trained["words", kind], tmp_path / "run")
    shutil.copy(trained["words", other] / "best.safetensors", copy)
    with pytest.raises(RunError):
        elman.load(copy)


def test_a_counted_model_beside_a_vocabulary_of_another_size_is_refused(
    trained: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(trained["words", "counted"], tmp_path / "run")
    lines = (copy / "vocabulary.json").read_text().split("\n")
    del lines[4]
    (copy / "vocabulary.json").write_text("\n".join(lines))
    with pytest.raises(RunError) as caught:
        elman.load(copy)
    second = str(caught.value).splitlines()[1]
    assert second.startswith("  Its model is over 11 tokens, the end being ")
    assert "; its vocabulary.json has 10, the end being " in second


def test_a_recipe_that_is_not_text_is_refused(trained: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    copy = shutil.copytree(trained["words", "counted"], tmp_path / "run")
    (copy / "recipe.toml").write_bytes(b"\xbd\x00")
    with pytest.raises(RecipeError, match="it is not UTF-8 text"):
        elman.load(copy)


def test_a_model_that_knows_no_line_end_scores_what_has_none(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abcab" * 60)
    recipe = recipes.parse(
        f'[data]\npath = "{tmp_path / "text.txt"}"\n[text]\nunit = "characters"\n[model]\nkind = "counted"\n'
        'order = 2\nsmoothing = "witten-bell"\n',
        "tiny",
    )
    corpus = open_corpus(recipe.corpus, recipe.text)
    folder = RunFolder.create(tmp_path / "run", recipes.to_toml(recipe), corpus.vocabulary)
    assert isinstance(recipe.model, recipes.CountedOptions)
    count(corpus.train, corpus.valid, corpus.vocabulary, recipe.model, folder)
    run = elman.load(tmp_path / "run")
    assert sum(run.score(["abcab" * 60])) == pytest.approx(-run.evaluate(data=tmp_path / "text.txt").nats)
    with pytest.raises(TokenError):
        list(run.score(["ab\n"]))


def test_after_a_prompt_that_ends_in_a_space_no_other_is_set(trained: dict[tuple[str, str], Path]) -> None:
    run = elman.load(trained["words", "counted"])
    plain = "".join(run.generate("the cat", 5, seed=3))
    assert plain.startswith(" ")
    assert "".join(run.generate("the cat ", 5, seed=3)) == plain[1:]


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_a_streamed_run_does_the_same(trained: dict[tuple[str, str], Path], unit: str, text: Path) -> None:
    run = elman.load(trained[unit, "recurrent"])
    streamed = run.streamed()
    assert streamed.evaluate(data=text).nats == pytest.approx(run.evaluate(data=text).nats, rel=1e-6)
    lines = ["the cat\n", "a dog sees home .\n"]
    assert list(streamed.score(lines)) == pytest.approx(list(run.score(lines)), rel=1e-5)
    for seed in (1, 2):
        assert list(streamed.generate("the", 40, seed=seed)) == drawn(run, "the", 40, seed)
    mine, theirs = streamed.start(), run.start()
    for token in run.tokeniser.tokens("the dog runs"):
        mine, theirs = streamed.step(token, mine.state), run.step(token, theirs.state)
        torch.testing.assert_close(mine.log_probabilities, theirs.log_probabilities, rtol=1e-5, atol=1e-5)


def drawn(run: Run, prompt: str, tokens: int, seed: int) -> list[str]:
    """What the model itself draws, not streamed."""
    heard = run.tokeniser.encode(prompt, run.vocabulary).tolist()
    ids = generate(run.model, heard, tokens, start_id=run.vocabulary.start_id, seed=seed)
    return list(run._pieces(ids, run.vocabulary.tokens[heard[-1]]))


@pytest.mark.skipif(library.objection() is not None, reason="no compiled executor")
@pytest.mark.parametrize("unit", ["words", "characters"])
def test_texts_are_drawn_on_packed_weights(
    trained: dict[tuple[str, str], Path], unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = elman.load(trained[unit, "recurrent"])
    before = drawn(run, "the", 40, 1)
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.mul_(2.0)
    after = drawn(run, "the", 40, 1)
    assert after != before
    made: list[RecurrentLanguageModel] = []

    def packing(model: RecurrentLanguageModel) -> StreamedLanguageModel:
        made.append(model)
        return StreamedLanguageModel(model)

    monkeypatch.setattr("elman.run.StreamedLanguageModel", packing)
    assert [list(run.generate("the", 40, seed=1)) for _ in range(2)] == [after, after]
    assert made == [run.model]  # once for two texts
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.mul_(0.5)
    assert list(run.generate("the", 40, seed=1)) == before
    assert made == [run.model] * 2
    monkeypatch.setattr(library, "objection", lambda: "no compiler was there")
    assert list(run.generate("the", 40, seed=1)) == before
    assert len(made) == 2


def test_fewer_bits_cost_little_and_not_nothing(trained: dict[tuple[str, str], Path], text: Path) -> None:
    run = elman.load(trained["words", "recurrent"])
    exact = run.evaluate(data=text).nats_per_token
    for weights, most in (("bfloat16", 1e-3), ("int8", 2e-3)):
        cost = run.streamed(weights).evaluate(data=text).nats_per_token - exact
        assert 1e-7 < abs(cost) < most


def test_a_counted_model_is_not_streamed(trained: dict[tuple[str, str], Path]) -> None:
    folder = trained["words", "counted"]
    with pytest.raises(OptionError) as caught:
        elman.load(folder).streamed("int8")
    assert str(caught.value) == (
        f"The run {folder} was to be read with weights in int8.\n"
        "  Its model is a CountedModel; only a recurrent model is streamed.\n"
        "  Use the run as it is."
    )
