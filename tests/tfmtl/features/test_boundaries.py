"""Where a column of numbers is cut."""

import numpy as np
import pytest

from tfmtl import quantile_boundaries


def test_bins_of_about_equal_size():
    values = np.random.default_rng(0).permutation(np.arange(1000.0))
    edges = quantile_boundaries(values, bins=4)
    assert edges == (0.0, 250.0, 500.0, 750.0, 999.0)


def test_few_distinct_values_are_all_boundaries():
    assert quantile_boundaries([3, 1, 1, 2, 1], bins=8) == (1.0, 2.0, 3.0)


def test_a_frequent_value_leaves_the_other_bins_to_the_rest():
    amounts = np.r_[np.zeros(9900), np.arange(1, 101)]
    # By quantiles of the rows, all boundaries would be 0 and 100.
    assert quantile_boundaries(amounts, bins=5) == (0, 1, 26, 51, 76, 100)


def test_counts_stand_for_repeated_values():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 50, 1000) ** 2
    distinct, counts = np.unique(values, return_counts=True)
    assert quantile_boundaries(values, 7) == quantile_boundaries(distinct, 7, counts)


def test_what_is_not_finite_is_left_out():
    assert quantile_boundaries([np.nan, 1, np.inf, 2, -np.inf]) == (1.0, 2.0)


@pytest.mark.parametrize("values", [[], [1, 1], [np.nan, 3], [1e9, 1e9 + 1]])
def test_a_constant_has_no_boundaries(values):
    with pytest.raises(ValueError, match="at least two distinct values"):
        quantile_boundaries(values)
