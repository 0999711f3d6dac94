"""01 slope: estimate derivatives from values of a function.

The slope (the derivative) of f at x says how fast f grows there. The central
difference estimates it from two values of f, one on each side of x, where h
is a small number:

    slope = (f(x + h) - f(x - h)) / (2 h)

A function of an array has one slope per element: shift this element by h,
leave all other elements as they are, and apply the same formula. The array
of all these slopes is the gradient of f.
"""

import numpy as np


def slope(f, x, h=1e-5):
    """Return the slope of f at the number x. f takes a number and returns a number."""
    return (f(x + h) - f(x - h)) / (2 * h)


def gradient(f, x, h=1e-5):
    """Return the slope of f for each element of x, as an array of x's shape.

    f takes an array of x's shape and returns a number. x is an array of
    floats of any shape, and np.ndindex(x.shape) yields all its indices.
    It must be unchanged when the function returns.
    """
    slopes = np.zeros_like(x)
    for index in np.ndindex(x.shape):  # all positions in x, such as (0, 0), (0, 1), ...
        right, left = x.copy(), x.copy()
        right[index] += h
        left[index] -= h
        slopes[index] = (f(right) - f(left)) / (2 * h)
    return slopes
