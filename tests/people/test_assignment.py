from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from maskedge.people.assignment import assign

GAINS = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.floats(-5, 5, allow_nan=False) | st.sampled_from([0.0, 1.0, 2.0]),
)


def best_by_trying_all(gains):
    rows, columns = gains.shape
    if rows > columns:
        return best_by_trying_all(gains.T)
    return max(
        sum(max(0.0, gains[row, column]) for row, column in enumerate(chosen))
        for chosen in permutations(range(columns), rows)
    )


@given(GAINS)
def test_no_other_pairing_gains_more(gains):
    pairs = assign(gains)
    assert sum(gains[pair] for pair in pairs) == np.float64(best_by_trying_all(gains)).round(
        12
    ) or np.isclose(sum(gains[pair] for pair in pairs), best_by_trying_all(gains))


@given(GAINS)
def test_each_row_and_column_is_used_once_and_only_with_gain(gains):
    pairs = assign(gains)
    assert pairs == sorted(pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(gains[pair] > 0 for pair in pairs)


def test_greedy_would_be_worse():
    assert assign([[0.9, 0.8], [0.8, 0.0]]) == [(0, 1), (1, 0)]


def test_a_pair_without_gain_is_not_made_for_the_sake_of_pairing():
    assert assign([[0.9, 0.2], [0.2, 0.0]]) == [(0, 0)]
    assert assign([[float("nan"), -1.0]]) == []


def test_nothing_to_assign():
    assert assign(np.zeros((0, 3))) == []
    assert assign(np.zeros((3, 0))) == []


def test_thirty_two_persons_keep_to_their_boxes():
    rng = np.random.default_rng(0)
    order = rng.permutation(32)
    gains = rng.uniform(0, 1, (32, 32))
    gains[np.arange(32), order] += 2
    assert assign(gains) == [(row, int(column)) for row, column in enumerate(order)]
