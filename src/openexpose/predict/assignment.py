"""Who is who: pairs of rows and columns with the least total cost.

Shortest augmenting paths (Jonker and Volgenant 1987) from a greedy start. Exact; some fifty rows and columns take about
a millisecond, so no compiled library is worth a dependency.
"""

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


def assign(cost: Float[Array, "n m"], limit: float) -> Int[Array, "k 2"]:
    """Pairs (row, column), every row and column at most once, by ascending row.

    The sum of the pairs' costs plus ``limit`` for everybody who could have had a partner and has none is least: a pair
    that costs ``limit`` or more is never made. Costs may be infinite, not NaN.
    """
    if not cost.size:
        return np.zeros((0, 2), int)
    if cost.shape[0] > cost.shape[1]:
        swapped = assign(cost.T, limit)[:, ::-1]
        return swapped[np.argsort(swapped[:, 0])]
    bounded = np.minimum(np.asarray(cost, float), limit)
    partner = _solve(bounded)
    rows = np.flatnonzero(bounded[np.arange(len(partner)), partner] < limit)
    return np.stack([rows, partner[rows]], 1)


def _solve(cost: Float[Array, "n m"]) -> Int[Array, "n"]:
    """Column of every row, n <= m, least sum. Prices keep every reduced cost at or above zero, of pairs at zero."""
    count, width = cost.shape
    row_price, column_price = cost.min(1), np.zeros(width)
    column_of, row_of = np.full(count, -1), np.full(width, -1)
    for row, column in enumerate(cost.argmin(1).tolist()):
        if row_of[column] < 0:
            column_of[row], row_of[column] = column, row
    for free in np.flatnonzero(column_of < 0):
        _augment(cost, int(free), (row_price, column_price), (column_of, row_of))
    return column_of


def _augment(cost: Array, start: int, prices: tuple[Array, Array], pairs: tuple[Array, Array]) -> None:
    """Give one more row a column along the cheapest path of changes (Dijkstra); prices and pairs change in place."""
    (row_price, column_price), (column_of, row_of) = prices, pairs
    width = cost.shape[1]
    length, before, done = np.full(width, np.inf), np.full(width, start), np.zeros(width, bool)
    row, reached = start, 0.0
    while True:
        through = reached + cost[row] - row_price[row] - column_price
        better = ~done & (through < length)
        length[better], before[better] = through[better], row
        column = int(np.where(done, np.inf, length).argmin())
        reached, done[column] = float(length[column]), True
        if row_of[column] < 0:
            break
        row = int(row_of[column])
    change = np.where(done, reached - length, 0.0)
    column_price -= change
    visited = row_of[done & (row_of >= 0)]
    row_price[visited] += change[column_of[visited]]
    row_price[start] += reached
    while True:
        row = int(before[column])
        row_of[column], column_of[row], column = row, column, int(column_of[row])
        if row == start:
            break
