"""Real/bogus classification for transient surveys, trained on labels that are partly wrong.

Importing the package is cheap: TensorFlow is loaded by the modules that need it.
"""

import os

# train_step is written with tf.GradientTape; the choice has to stand before Keras is imported.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from rbkeras._version import __version__
from rbkeras.errors import InputError

__all__ = ["InputError", "__version__"]
