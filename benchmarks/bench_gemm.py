"""Matrix products alone: GFLOP/s, and their fraction of the FMA peak measured among them."""

from __future__ import annotations

Key = tuple[str, str, str]

SHAPES = ["64 x 784 x 128", "128 x 128 x 128", "512 x 512 x 512", "1024 x 1024 x 1024"]
LAYOUTS = ["in panels", "in place"]
DTYPES = ["float32", "float64"]
SECONDS = 0.05  # of one of the batches of products of which the fastest counts


class Products:
    """C (m, n) = A (m, k) B (k, n) by the engine's own functions, one thread.

    A lies in panels, as a layer leaves it for the next, or is the caller's row-major array, read in
    place. asv takes larger figures for worse ones; here they are better ones.
    """

    params = (SHAPES, LAYOUTS, DTYPES)
    param_names = ["m x k x n", "A", "dtype"]

    def setup_cache(self) -> dict[Key, tuple[float, float]]:
        """Measure all in one process, and warm each before.

        A shared machine may slow down for a while, so the peak is the highest of several, one
        before each shape.
        """
        import numpy as np
        from products import peak, rate

        peaks, rates = dict.fromkeys(DTYPES, 0.0), {}
        for name in DTYPES:
            dtype = np.dtype(name)
            for shape in SHAPES:
                peaks[name] = max(peaks[name], peak(dtype, 1, SECONDS))
                m, k, n = map(int, shape.split(" x "))
                for layout in LAYOUTS:
                    rates[shape, layout, name] = rate(layout, dtype, (m, k, n), 1, SECONDS)
        return {key: (found, found / peaks[key[-1]]) for key, found in rates.items()}

    def track_rate(self, figures: dict[Key, tuple[float, float]], *key: str) -> float:
        """2 m k n floating-point operations over the seconds of the product, in GFLOP/s."""
        return round(figures[key][0], 1)

    def track_fraction(self, figures: dict[Key, tuple[float, float]], *key: str) -> float:
        """Rate over that of fused multiply-adds which stay in registers, from 0 to 1."""
        return round(figures[key][1], 3)

    track_rate.unit = "GFLOP/s"
    track_fraction.unit = "of the FMA peak"
