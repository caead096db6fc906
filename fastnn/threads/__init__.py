"""Threads of this process: how many, their pool, tasks on them, changes made at once."""
