"""Files of tables: CSV, TSV, Parquet, .npz, .npy and svmlight, each plain or in gzip."""

from fastnn.tabular.files.reading import FORMATS, Reading, read, read_in_blocks

__all__ = ["FORMATS", "Reading", "read", "read_in_blocks"]
