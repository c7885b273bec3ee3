"""A long short-term memory by ``jax.lax.scan``, compiled: as fast as that way goes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from torch import Tensor

from elman.cells import LSTM


def calls(cell: LSTM, x: Tensor, cotangent: Tensor) -> dict[str, Callable[[], Any]]:
    """By mode: the scan of this cell's weights over ``x``, and its gradients."""
    weights = tuple(jnp.asarray(p.detach().numpy()) for p in (cell.weight_x, cell.weight_h, cell.bias))
    given, d = jnp.asarray(x.numpy()), jnp.asarray(cotangent.numpy())
    forward, without_x, with_x = jax.jit(scan), jax.jit(gradient), jax.jit(gradient_with_x)
    return {
        "forward": lambda: forward(weights, given).block_until_ready(),
        "forward + backward": lambda: jax.block_until_ready(without_x(weights, given, d)),
        "forward + backward, x too": lambda: jax.block_until_ready(with_x(weights, given, d)),
    }


def scan(weights: Any, x: Any) -> Any:
    weight_x, weight_h, bias = weights
    start = jnp.zeros((x.shape[1], weight_h.shape[1]), x.dtype)

    def step(state: Any, projected: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(projected + h @ weight_h.T, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return lax.scan(step, (start, start), x @ weight_x.T + bias)[1]


def gradient(weights: Any, x: Any, d: Any) -> Any:
    y, pull = jax.vjp(lambda weights: scan(weights, x), weights)
    return y, pull(d)


def gradient_with_x(weights: Any, x: Any, d: Any) -> Any:
    y, pull = jax.vjp(scan, weights, x)
    return y, pull(d)
