"""Rows of a CSV file that may be of any kind: line by line, so that a broken one costs itself."""

import csv
from typing import List


def split(line: str) -> List[str]:
    """Return the cells of a line; none where it is no CSV, such as one of a megabyte."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def lines(text: str) -> List[List[str]]:
    """Return the cells of every line that is not empty; no cells for one that is no CSV."""
    return [split(line) for line in text.split('\n') if line.strip()]
