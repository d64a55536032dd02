"""The fixtures of the jailed tests, for those that make sense in a machine only."""

from jailed.conftest import no_hang  # noqa: F401 - a fixture by its name
