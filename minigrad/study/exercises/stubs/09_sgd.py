"""09 sgd: gradient descent, and gradients that must be set to zero.

A parameter p is an object with two attributes: `p.value`, an array, and
`p.grad`, the gradient of the loss with respect to it, or None if there is
none. A step of gradient descent moves each parameter against its gradient:

    value = value - lr * grad

lr is the learning rate. SGD is this step on the gradient of a batch of images
("stochastic gradient descent"). The nodes of exercise 04 are such parameters.

In PyTorch and minigrad, `backward` adds to `grad`. The gradients of the
step before must therefore be removed before each `backward`.
"""


class SGD:
    """Gradient descent for a list of parameters."""

    def __init__(self, parameters, lr):
        self.parameters = list(parameters)
        self.lr = lr

    def zero_grad(self):
        """Set the grad of each parameter to None."""
        raise NotImplementedError

    def step(self):
        """Update the value of each parameter that has a gradient. grad is not changed."""
        raise NotImplementedError


def train_step(optimizer, backward):
    """Take one whole step of training.

    optimizer has the methods zero_grad() and step(). backward() computes the
    gradients of this step and adds them to the grad of the parameters. Call
    each of the three once, in the right order.
    """
    raise NotImplementedError
