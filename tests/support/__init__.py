"""Hosts, agents and values that tests are made of."""

from pathlib import Path

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
PROJECT = TESTS.parent
