"""14 torch: the same training step in PyTorch.

Write one step of gradient descent on a 2-layer network with ReLU and
cross-entropy, in PyTorch. The check runs 3 steps and compares the loss, the
gradients and the new weights of each with minigrad's, to 1e-12.

All arguments and results are NumPy arrays in float64. The weights are a dict:

    "hidden.0.weight" (hidden, inputs)     "hidden.0.bias" (hidden,)
    "output.weight" (classes, hidden)      "output.bias" (classes,)

They have the layout of torch.nn.Linear, which computes x W^T + b. Functions of
torch need tensors: torch.tensor(array), and for a weight requires_grad=True.
Useful: functional.linear(x, w, b), torch.relu, loss.backward(), tensor.grad,
functional.cross_entropy(logits, labels), tensor.detach().numpy().
"""

import torch
from torch.nn import functional


def train_step(weights, x, labels, lr):
    """Return (loss, gradients, new_weights) of one step of gradient descent.

    weights is the dict above, x (n, inputs) and labels (n,) are one batch, lr
    is the learning rate. loss is a number: the mean cross-entropy. gradients
    and new_weights are dicts of arrays with the keys and shapes of weights.
    weights must not be changed.
    """
    w = {name: torch.tensor(array, requires_grad=True) for name, array in weights.items()}
    hidden = torch.relu(functional.linear(torch.tensor(x), w["hidden.0.weight"], w["hidden.0.bias"]))
    logits = functional.linear(hidden, w["output.weight"], w["output.bias"])
    loss = functional.cross_entropy(logits, torch.tensor(labels))
    loss.backward()
    gradients = {name: tensor.grad.numpy() for name, tensor in w.items()}
    new_weights = {name: array - lr * gradients[name] for name, array in weights.items()}
    return loss.item(), gradients, new_weights
