"""A job, the worker process that does it, and the runners that start these processes, here or on Ray."""
