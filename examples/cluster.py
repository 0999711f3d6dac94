"""The option --address and the connection to Ray, for `ray_train.py` and `sweep.py`."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import ray

from minigrad.recipes import Parser
from minigrad.runs import UserError, signals


def add_address(parser: Parser) -> None:
    """Add --address."""
    # `ray job submit` sets RAY_ADDRESS in its jobs.
    address = os.environ.get("RAY_ADDRESS", "local")
    parser.add_argument(
        "--address",
        type=str,
        default=address,
        help="address of a Ray cluster; auto is the cluster of this machine, local starts one",
    )


def connect(address: str, processors: int | None = None) -> Any:
    """Connect to Ray.

    Args:
        address: the address of a cluster, or auto or local, as for --address.
        processors: the number of CPUs of a local Ray; None (the default) counts those of the machine.

    Returns:
        A context manager that disconnects at its end.

    Raises:
        UserError: there is no such cluster, or it refuses the connection.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local: dict[str, Any] = {"num_cpus": processors} if address == "local" else {}
    problem, expected = "no Ray cluster can be reached", "auto or HOST:PORT"
    try:
        if address not in ("local", "auto"):  # Ray itself would wait for minutes if nothing answers
            host, _, port = address.rpartition("/")[2].rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
            # Without a token, Ray reports that the connection failed, for whatever reason.
            problem, expected = "refuses the connection", "a Ray cluster, and its RAY_AUTH_MODE and RAY_AUTH_TOKEN"
        with signals.deferred():  # Ray's handler of SIGTERM would end the process with exit status 15
            return ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(f"--address {address}: {problem}; expected {expected}") from error
