"""The types of arguments, as a type checker sees them; use them in annotations of functions that call optchain."""

from optchain.core.mask import Mask as Mask
from optchain.core.numbers import Number as Number
from optchain.core.schedule import Schedule as Schedule
from optchain.core.transform import Transform as Transform
