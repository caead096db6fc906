"""The family of one block of threads, which trains a whole network."""
