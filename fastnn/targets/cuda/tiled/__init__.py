"""The family of tiled products over all processors, for large networks."""
