"""The laws of composition, to be checked on any optax transformation."""

from optchain.inspect.laws import averages as averages
from optchain.inspect.laws import checkpoints as checkpoints
from optchain.inspect.laws import control_flow as control_flow
from optchain.inspect.laws import derivatives as derivatives
from optchain.inspect.laws import extras as extras
from optchain.inspect.laws import layers as layers
from optchain.inspect.laws import leaves as leaves
from optchain.inspect.laws import memory as memory
from optchain.inspect.laws import meshes as meshes
from optchain.inspect.laws import randomness as randomness
from optchain.inspect.laws import types as types
from optchain.inspect.laws import values as values
from optchain.inspect.laws import wrappers as wrappers
from optchain.inspect.laws.check import LAWS as LAWS
from optchain.inspect.laws.check import Report as Report
from optchain.inspect.laws.check import check_laws as check_laws
from optchain.inspect.laws.exceptions import EXCEPTIONS as EXCEPTIONS
