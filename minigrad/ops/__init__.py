"""All operations, grouped by family: the table of rules.

docs/operations/ derives the formula of each of them.
"""

from . import activation, elementwise, image, linalg, loss, normalise, reduce, shape
from .activation import *
from .elementwise import *
from .image import *
from .linalg import *
from .loss import *
from .normalise import *
from .reduce import *
from .shape import *

__all__ = [
    *elementwise.__all__,
    *activation.__all__,
    *reduce.__all__,
    *shape.__all__,
    *linalg.__all__,
    *image.__all__,
    *normalise.__all__,
    *loss.__all__,
]
