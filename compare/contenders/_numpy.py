"""What the contenders that compute with NumPy have in common: the matrix product and its library."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import base


def product(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    """Return a function that multiplies two matrices; see `Contender.product`."""
    return lambda: a @ b


def library() -> base.Library:
    """Return NumPy's BLAS as it describes itself; see `Contender.library`."""
    import threadpoolctl

    loaded = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]
    loaded.sort(key=lambda info: "numpy" not in info["filepath"])  # another package may have loaded its own copy
    if not loaded:  # threadpoolctl does not know every library, for example Apple's Accelerate
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"library": f"{blas['name']} {blas['version']}", "kernel": None, "threads": None}
    info = loaded[0]
    names = {"openblas": "OpenBLAS", "mkl": "oneMKL", "blis": "BLIS"}
    name = names.get(info["internal_api"], info["internal_api"])
    return {
        "library": f"{name} {info['version']}",
        "kernel": info.get("architecture"),
        "threads": info["num_threads"],
    }
