"""03 square: a rule, which computes a value and its pullback.

A rule computes a value from an array, and returns it together with a
pullback. The pullback is a function. It takes g, the gradient of the loss
with respect to the value, and returns the gradient of the loss with respect
to x. Here the value is x^2 for each element, whose derivative is 2 x. By the
chain rule,

    d(loss)/dx = d(loss)/d(value) * d(value)/dx = g * 2 x
"""


def square(x):
    """Return a tuple (value, pullback) for the value x^2, element by element.

    x is an array of any shape. value and g have the same shape, and so has
    the array that pullback(g) returns. Neither x nor g may be changed.
    """
    raise NotImplementedError
