"""The family of tiled products over all SMs, for large networks."""
