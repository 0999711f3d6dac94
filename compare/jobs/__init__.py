"""A job, the worker process that runs it, and the runners that start these processes, locally or on Ray."""
