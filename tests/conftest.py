"""Generated tests are the same everywhere, and a busy machine fails none of them."""

from hypothesis import settings

settings.register_profile("dstc", deadline=None, derandomize=True, database=None)
settings.load_profile("dstc")
