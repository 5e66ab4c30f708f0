"""The assignment problem on a small table: pair rows with columns for the largest total gain.

Shortest augmenting paths with potentials (the Hungarian method of Kuhn 1955 and Munkres 1957 in the form of
Jonker and Volgenant 1987), for rectangular tables as in D. F. Crouse, "On implementing 2D rectangular assignment
algorithms", IEEE Transactions on Aerospace and Electronic Systems 52 (2016), 1679-1696.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def assign(gain: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair rows with columns, each at most once, so that the sum of their gains is the largest possible.

    Parameters
    ----------
    gain : numpy.ndarray
        Rows x columns float64, finite.

    Returns
    -------
    rows, columns : numpy.ndarray
        Int64, as many pairs as the shorter side has entries, rows ascending.

    Examples
    --------
    >>> import numpy as np
    >>> rows, columns = assign(np.array([[0.9, 0.8], [0.9, 0.1]]))
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 0])
    """
    import numpy as np

    if gain.shape[0] > gain.shape[1]:
        columns, rows = assign(gain.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    cost = -np.asarray(gain, dtype=np.float64)
    num_rows, num_columns = cost.shape
    row_price, column_price = np.zeros(num_rows), np.zeros(num_columns)
    row_of = np.full(num_columns, -1, dtype=np.int64)
    column_of = np.full(num_rows, -1, dtype=np.int64)
    for start in range(num_rows):
        # Run Dijkstra over reduced costs from this row to the nearest free column.
        distance = np.full(num_columns, np.inf)
        came_from = np.full(num_columns, -1, dtype=np.int64)
        closed = np.zeros(num_columns, dtype=bool)
        row, reached, visited = start, 0.0, [start]
        while True:
            through = reached + cost[row] - row_price[row] - column_price
            shorter = ~closed & (through < distance)
            distance[shorter] = through[shorter]
            came_from[shorter] = row
            column = int(np.where(closed, np.inf, distance).argmin())
            reached = float(distance[column])
            closed[column] = True
            if row_of[column] < 0:
                break
            row = int(row_of[column])
            visited.append(row)
        row_price[start] += reached
        for other in visited[1:]:
            row_price[other] += reached - distance[column_of[other]]
        column_price[closed] += distance[closed] - reached
        # Reverse the path: every row on it takes the column through which the search left it.
        while True:
            row = int(came_from[column])
            row_of[column] = row
            column_of[row], column = column, int(column_of[row])
            if row == start:
                break
    return np.arange(num_rows, dtype=np.int64), column_of
