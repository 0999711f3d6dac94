"""10 adam: a step whose size adapts to each element.

Adam keeps two averages per parameter, arrays of its shape that are 0 at the
start: m of the gradients, and v of their squares. In step t = 1, 2, 3, ...

    m = beta1 m + (1 - beta1) grad
    v = beta2 v + (1 - beta2) grad^2
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    value = value - lr m_hat / (sqrt(v_hat) + eps)

m and v start at 0 and are therefore too small at first. The divisions in m_hat
and v_hat correct this. m and v themselves are kept without the correction.
"""

import numpy as np


class Adam:
    """Adam for a list of parameters, as in exercise 09."""

    def __init__(self, parameters, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
        self.parameters = list(parameters)
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.t = 0
        self.m = [np.zeros_like(p.value) for p in self.parameters]
        self.v = [np.zeros_like(p.value) for p in self.parameters]

    def zero_grad(self):
        """Set the grad of each parameter to None."""
        for p in self.parameters:
            p.grad = None

    def step(self):
        """Update the value of each parameter. Every parameter has a gradient, which is not changed."""
        self.t += 1
        for i, p in enumerate(self.parameters):
            self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * p.grad
            self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * p.grad**2
            m_hat = self.m[i] / (1 - self.beta1**self.t)
            v_hat = self.v[i] / (1 - self.beta2**self.t)
            p.value = p.value - self.lr * m_hat / (np.sqrt(v_hat) + self.eps)
