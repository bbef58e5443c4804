"""The types of values that a file names: functions by place, and dtypes."""

from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import typing_extensions
from pydantic import BeforeValidator, PlainSerializer, SerializationInfo, ValidationInfo

from optchain.lab.base.errors import InputError
from optchain.lab.settings.places import Placed, find, is_place, relative


def is_protocol_of_calls(hint: Any) -> bool:
    return isinstance(hint, type) and typing_extensions.is_protocol(hint) and "__call__" in vars(hint)


def _function(value: Any, info: ValidationInfo) -> Placed:
    if isinstance(value, Placed):
        return value
    if not is_place(value):
        raise ValueError(f"got {value!r}; expected the place of a function, such as 'jax.nn:relu' or 'file.py:name'")
    try:
        return find(value, Path(info.context["folder"] if info.context else "."))
    except InputError as error:
        raise ValueError(str(error)) from None


def _function_dumped(value: Any, info: SerializationInfo) -> Any:
    if not isinstance(value, Placed):
        return value
    return relative(value.use, info.context["folder"]) if info.context else value.use


def _dtype(value: Any) -> Any:
    try:
        return jnp.dtype(value)
    except TypeError:
        raise ValueError(f"got {value!r}; expected a dtype, such as 'bfloat16'") from None


Function = Annotated[Any, BeforeValidator(_function), PlainSerializer(_function_dumped)]
Dtype = Annotated[Any, BeforeValidator(_dtype), PlainSerializer(str)]
