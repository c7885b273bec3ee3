"""Every exception Elman raises on purpose, and the three lines of each message.

Line one says what was asked, with its sizes; line two what came; line three what to do::

    ShapeError: LSTM(input_size=650, hidden_size=650) was given 300 features per step.
      x is 35×20×300 (T B X); X must be 650.
      In a recipe, leave model.input_size out to tie it to the embedding.

Under ``torch.compile(fullgraph=True)`` PyTorch raises an error of its own, in which the three lines stand.
"""


class ElmanError(Exception):
    """Base of all errors that a caller can cause. ``str(error)`` is the three lines."""

    def __init__(self, asked: str, came: str, do: str) -> None:
        # Without super().__init__, which PyTorch's compiler cannot follow: it would tell of that instead.
        self.asked = asked
        self.came = came
        self.do = do

    def __str__(self) -> str:
        return f"{self.asked}\n  {self.came}\n  {self.do}"

    def __reduce__(self) -> tuple[type["ElmanError"], tuple[str, str, str]]:
        return type(self), (self.asked, self.came, self.do)


class ShapeError(ElmanError, ValueError):
    """A tensor's axes, sizes or type do not fit."""


class OptionError(ElmanError, ValueError):
    """An argument, an option of a command, or a combination of them, cannot be used."""


class TextError(ElmanError, ValueError):
    """A text cannot be read: missing, empty, binary, wrongly encoded, or with an endless line."""


class TokenError(ElmanError, ValueError):
    """A token or id that the vocabulary does not hold."""


class CorpusError(ElmanError, ValueError):
    """A corpus is unknown, absent, or not the published one."""


class RecipeError(ElmanError, ValueError):
    """A recipe has mistakes: all of them are listed in the second line's place."""


class RunError(ElmanError, ValueError):
    """A run folder is missing, cut short, from another version, or already there."""


class ModelError(ElmanError, ValueError):
    """A model cannot be estimated from this text, or lacks what was asked of it."""


class DivergenceError(ElmanError, ArithmeticError):
    """Training met a loss or gradient that is not finite."""


class MissingExtraError(ElmanError, ImportError):
    """A package that only this feature needs is not installed."""
