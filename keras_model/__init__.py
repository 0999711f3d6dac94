"""The recipe's network in Keras 3: `python -m keras_model fit --config simple`.

The backend is KERAS_BACKEND's, TensorFlow by default.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow's start-up remarks, which are no news to a user; its errors still show.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A GPU's memory is taken as it is needed, by TensorFlow and by JAX, which else take most of it at once.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
