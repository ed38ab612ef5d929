"""A row of a study as its authors trained it: the textbook's functions, with the conventions that they had."""

from __future__ import annotations


def train(data, run):
    raise NotImplementedError
