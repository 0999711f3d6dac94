"""Mistakes that learners make, planted in the solutions of the exercises, and the hint that each must get.

Each row: the exercise, a part of its solution, what replaces it, and a part of the feedback.
"""

from __future__ import annotations

PLANTED: list[tuple[str, str, str, str]] = [
    ("01_slope", "/ (2 * h)\n\n\ndef", "/ h\n\n\ndef", "Divide by 2 h"),
    ("01_slope", "return (f(x + h) - f(x - h)) / (2 * h)", "return (f(x + h) - f(x)) / h", "f(x) is not needed"),
    ("01_slope", "(f(x + h) - f(x - h)) / (2 * h)", "(f(x + h) - f(x - h)) / 2 * h", "write / (2 * h)"),
    ("01_slope", "return (f(x + h) - f(x - h))", "return (f(x - h) - f(x + h))", "The sign is wrong"),
    ("01_slope", "right, left = x.copy(), x.copy()", "right, left = x.copy(), x", "changes its argument x"),
    ("01_slope", "right[index] += h\n        left[index] -= h", "right += h\n        left -= h", "shifted together"),
    ("01_slope", "in np.ndindex(x.shape)", "in range(len(x))", "x may have several axes"),
    (
        "01_slope",
        "    slopes = np.zeros_like(x)\n    for index in np.ndindex(x.shape)",
        "    slopes = np.zeros(len(x))\n    for index in range(len(x))",
        "x may have several axes",
    ),
    (
        "01_slope",
        "    slopes = np.zeros_like(x)\n",
        "    (n,) = x.shape\n    slopes = np.zeros(n)\n",
        "x may have several axes",
    ),
    ("02_predict", "dy_da_2 = 7", "dy_da_2 = 14", "This is y itself"),
    ("02_predict", "dy_dx_3 = 2 * 3 * 3", "dy_dx_3 = 9", "This is y itself"),
    ("02_predict", "dc_da_5 = 4", "dc_da_5 = 6", "before all of it has arrived"),
    ("02_predict", "dy_dx_3 = 2 * 3 * 3", "dy_dx_3 = 6", "Multiply it by du/dx"),
    ("02_predict", "dy_dx_6 = 2 * (2 * 2) + 2**2", "dy_dx_6 = 2**2", "one of two contributions"),
    ("02_predict", "dy_dp_8 = -4", "dy_dp_8 = 4", "The sign is wrong"),
    ("03_square", "g * 2 * x", "g * x", "The factor 2 is missing"),
    ("03_square", "g * 2 * x", "2 * x", "The factor g is missing"),
    ("03_square", "g * 2 * x", "g.__imul__(2 * x)", "changes its argument g"),
    ("03_square", "x * x, lambda g: g * 2 * x", "x * x", "Return a tuple"),
    (
        "04_backward",
        "waiting[operand] + contribution if operand in waiting else contribution",
        "contribution",
        "replaces an earlier one",
    ),
    ("04_backward", "max(waiting", "min(waiting", "max instead of min"),
    (
        "04_backward",
        "            waiting[operand] = waiting[operand] + contribution if operand in waiting else contribution",
        "            if operand in waiting:\n                waiting[operand] += contribution\n"
        "            else:\n                waiting[operand] = contribution",
        "+= has changed an array that two nodes share",
    ),
    (
        "04_backward",
        "node.grad = waiting.pop(node)",
        "node.grad = waiting.pop(node) + (0 if node.grad is None else node.grad)",
        "Replace them",
    ),
    ("04_backward", "np.ones_like(root.value)", "root.value", "The gradient of the root is 1"),
    (
        "05_broadcasting",
        "g.sum(axis=tuple(range(g.ndim - len(shape))))",
        "g.mean(axis=tuple(range(g.ndim - len(shape))))",
        "not averaged",
    ),
    (
        "04_backward",
        """    waiting = {root: np.ones_like(root.value)}  # node: the sum of the gradients that have arrived
    while waiting:
        node = max(waiting, key=lambda node: node.order)
        node.grad = waiting.pop(node)
        for operand, pullback in node.edges:
            contribution = pullback(node.grad)
            waiting[operand] = waiting[operand] + contribution if operand in waiting else contribution
""",
        """    def visit(node, g):
        node.grad = g if node.grad is None else node.grad + g
        for operand, pullback in node.edges:
            visit(operand, pullback(node.grad))

    visit(root, np.ones_like(root.value))
""",
        "Visit the newest of the waiting nodes",
    ),
    ("05_broadcasting", "return g.sum(axis=repeated, keepdims=True)", "return g", "Only the axes that were added"),
    ("05_broadcasting", "keepdims=True", "keepdims=False", "keepdims=True"),
    ("05_broadcasting", "lambda g: unbroadcast(g, b.shape)", "lambda g: g", "use unbroadcast"),
    ("06_matmul", "g @ b.T", "g @ b", "A transpose is missing"),
    ("06_matmul", "a.T @ g", "g @ a.T", "The order is wrong"),
    ("06_matmul", "lambda g: g @ b.T, lambda g: a.T @ g", "lambda g: a.T @ g, lambda g: g @ b.T", "exchanged"),
    ("06_matmul", "return a @ b", "return a * b", "The matrix product is @"),
    ("07_softmax", "p * (g - (g * p).sum(axis=1, keepdims=True))", "g * p * (1 - p)", "only the diagonal elements"),
    ("07_softmax", "np.exp(z - z.max(axis=1, keepdims=True))", "np.exp(z)", "e^1000 is infinite"),
    ("07_softmax", "e.sum(axis=1, keepdims=True)", "e.sum()", "Each row has its own sum"),
    ("07_softmax", "(g * p).sum(", "g.sum(", "Weight the sum by p"),
    ("08_cross_entropy", "return g * d_z / n", "return g * d_z", "n times too large"),
    ("08_cross_entropy", "return g * d_z / n", "return d_z / n", "The factor g is missing"),
    (
        "08_cross_entropy",
        "np.log(total[:, 0]) - z[rows, labels]).mean()",
        "z[rows, labels] - np.log(total[:, 0])).mean()",
        "-ln p",
    ),
    (
        "08_cross_entropy",
        "(np.log(total[:, 0]) - z[rows, labels])",
        "-(e / total)[rows, labels]",
        "The logarithm is missing",
    ),
    ("08_cross_entropy", "z = z - z.max", "z -= z.max", "changes its argument z"),
    ("08_cross_entropy", "    z = z - z.max(axis=1, keepdims=True)\n", "", "e^1000 is infinite"),
    ("08_cross_entropy", "        d_z = e / total\n", "        d_z = e\n        d_z /= total\n", "called again"),
    ("09_sgd", "p.value - self.lr * p.grad", "p.value + self.lr * p.grad", "uphill"),
    ("09_sgd", "p.value - self.lr * p.grad", "p.value - p.grad", "The learning rate is missing"),
    (
        "09_sgd",
        "            if p.grad is not None:\n                p.value",
        "            if True:\n                p.value",
        "keeps its value",
    ),
    (
        "09_sgd",
        "    optimizer.zero_grad()\n    backward()",
        "    backward()",
        "The gradients of the step before are still there",
    ),
    (
        "09_sgd",
        "    backward()\n    optimizer.step()",
        "    optimizer.step()\n    backward()",
        "The order is: zero_grad(), backward(), step()",
    ),
    ("10_adam", " / (1 - self.beta1**self.t)", "", "The bias correction of m is missing"),
    ("10_adam", "np.sqrt(v_hat) + self.eps", "np.sqrt(v_hat + self.eps)", "Add eps to the square root"),
    ("10_adam", "p.grad**2", "p.grad", "v is the average of grad^2"),
    ("10_adam", "        self.t += 1\n", "", "t counts the steps"),
    ("10_adam", "p.value - self.lr", "p.value + self.lr", "The sign is wrong"),
    ("11_xor", "hidden = tanh(add(", "hidden = (add(", "tanh is missing"),
    ("11_xor", "        optimizer.step()\n", "", "The weights do not change"),
    (
        "11_xor",
        "        backward(loss)\n        optimizer.step()",
        "        optimizer.step()\n        backward(loss)",
        "in this order",
    ),
    (
        "11_xor",
        "    for _ in range(steps):\n        loss = loss_of(weights, x, y)\n",
        "    loss = loss_of(weights, x, y)\n    for _ in range(steps):\n",
        "computed before the loop",
    ),
    ("12_digits", "rng.permutation(n)\n    return", "np.arange(n)\n    return", "The indices are not shuffled"),
    ("12_digits", "range(0, n, batch_size)", "range(0, n - batch_size + 1, batch_size)", "keep the smaller last batch"),
    ("12_digits", "argmax(axis=1)", "argmax(axis=0)", "axis=1"),
    ("12_digits", "x[batch]), labels[batch])", "x[batch]), labels[: len(batch)])", "belong to other images"),
    (
        "12_digits",
        "    optimizer = Adam(weights.values(), lr=lr)\n    losses = []\n    for _ in range(epochs):\n",
        "    losses = []\n    for _ in range(epochs):\n        optimizer = Adam(weights.values(), lr=lr)\n",
        "before the first epoch",
    ),
    ("13_mnist", " / np.float32(255)", "", "divide by 255"),
    ("13_mnist", " / np.float32(255)", " // 255", "drops the rest"),
    ("13_mnist", "images.reshape(len(images), -1)", "images.reshape(784, -1).T", "mixes the pixels"),
]
