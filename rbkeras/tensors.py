"""A name for what networks compute with."""

from typing import Any

#: A tensor of Keras's backend, or what stands for one while a network is built: Keras has no name
#: for both.
Tensor = Any
