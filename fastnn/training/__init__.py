"""Training: the Trainer, its loop, callbacks, history, restarts and sweeps."""
