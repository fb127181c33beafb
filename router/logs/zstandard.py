"""Zstandard, and zip archives with it: Python's own since 3.14, its backport before."""

import sys

if sys.version_info >= (3, 14):
    import zipfile

    from compression.zstd import ZstdError
    from compression.zstd import open as open_zstandard
else:
    from backports.zstd import ZstdError, zipfile
    from backports.zstd import open as open_zstandard

__all__ = ["ZstdError", "open_zstandard", "zipfile"]
