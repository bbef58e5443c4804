"""Situations in which bare optax goes wrong, beside what optchain makes of them."""

from experiments.benchmarks.defects import layers as layers
from experiments.benchmarks.defects import precision as precision
from experiments.benchmarks.defects import state as state
from experiments.benchmarks.defects import wrappers as wrappers
from experiments.benchmarks.defects.defect import DEFECTS as DEFECTS
