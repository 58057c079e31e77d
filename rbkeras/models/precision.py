"""The precision that networks compute in."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def precision(policy: str | keras.DTypePolicy) -> Iterator[None]:
    """Make networks under a dtype policy.

    Layers keep what they were made under. Whether an optimizer scales the loss, and finds the
    state of one that did, is decided by the policy of the process when it is compiled.
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
