"""Files on disk: written whole, cache folders, kernels. It knows no network."""
