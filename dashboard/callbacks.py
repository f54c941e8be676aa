"""Dash's callback decorator with types: what is decorated keeps its signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import dash

Function = TypeVar("Function", bound=Callable[..., Any])


def callback(app: dash.Dash, *dependencies: Any) -> Callable[[Function], Function]:
    """`app.callback(*dependencies)`."""

    def register(function: Function) -> Function:
        app.callback(*dependencies)(function)
        return function

    return register
