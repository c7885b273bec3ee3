"""Characters: counted and encoded in bulk as one by one."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from elman.errors import TokenError
from elman.text import Characters, TextFile, TextOptions, Vocabulary, tokeniser

TEXT = "Zoë said:\n\t😀 “fine”\n" * 11 + "ẞtraße\n"


@pytest.mark.parametrize("lowercase", [False, True])
def test_a_file_gives_what_its_characters_give(tmp_path: Path, lowercase: bool) -> None:
    path = tmp_path / "t.txt"
    path.write_text(TEXT)
    characters = tokeniser(TextOptions("characters", lowercase=lowercase))
    text = TEXT.lower() if lowercase else TEXT
    assert characters.count(TextFile(path)) == Counter(text)
    v = Vocabulary.build(Counter(text), TextOptions("characters"))
    ids = np.concatenate(list(characters.encode_source(TextFile(path), v)))
    assert ids.tolist() == [v.tokens.index(each) for each in text]
    assert characters.encode(TEXT, v).tolist() == ids.tolist()
    assert characters.decode(ids, v) == text
    assert "".join(characters.piece(v.tokens[number], None) for number in ids) == text


def test_an_unseen_character_is_an_error_or_unknown(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("abxa")
    strict = Vocabulary(["a", "b"])
    with pytest.raises(TokenError, match="The character 'x' was to be given an id"):
        list(Characters().encode_source(TextFile(path), strict))
    with pytest.raises(TokenError, match="The character 'x' was to be given an id"):
        Characters().encode("abxa", strict)
    lenient = Vocabulary(["a", "b", "\ufffd"], unknown="\ufffd")
    ids = np.concatenate(list(Characters().encode_source(TextFile(path), lenient)))
    assert ids.tolist() == Characters().encode("abxa", lenient).tolist() == [0, 1, 2, 0]
    assert Characters().decode(ids, lenient) == "ab\ufffda"


def test_a_prompt_with_undecodable_bytes_is_an_error_not_a_crash() -> None:
    with pytest.raises(TokenError, match=r"The character '\\udce9'"):
        Characters().encode("caf\udce9", Vocabulary(["c", "a", "f"]))
