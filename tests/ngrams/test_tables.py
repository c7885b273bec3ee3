import numpy as np

from elman.ngrams.tables import Table, find, followers

# Rows: contexts 0, 2 and 3 of width 10 are followed by words 1 and 7; 0, 3 and 9; 5.
KEYS = np.array([1, 7, 20, 23, 29, 35])
TABLE = Table(KEYS, -np.arange(1.0, 7), np.zeros(6))


def test_find_gives_the_row_of_what_is_there_and_minus_one_for_all_else() -> None:
    prefix = np.array([[0, 0, 2, 3], [3, 1, -1, 9]])
    words = np.array([[7, 2, 9, 5], [-1, 1, 1, 9]])
    assert find(TABLE, prefix, words, 10).tolist() == [[1, -1, 4, 5], [-1, -1, -1, -1]]
    assert find(Table(KEYS[:0], KEYS[:0], KEYS[:0]), prefix, words, 10).tolist() == [[-1] * 4] * 2


def test_followers_are_all_rows_of_each_context_and_whose_they_are() -> None:
    rows, owner = followers(TABLE, np.array([2, -1, 0, 1, 3, 2]), 10)
    assert rows.tolist() == [2, 3, 4, 0, 1, 5, 2, 3, 4]
    assert owner.tolist() == [0, 0, 0, 2, 2, 4, 5, 5, 5]
    assert [each.tolist() for each in followers(TABLE, np.array([-1, 8]), 10)] == [[], []]
