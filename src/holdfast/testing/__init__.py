"""For those who test what they build with Holdfast: time moved by hand, and suites for third-party parts.

`holdfast.testing.store_suite` needs pytest; nothing else here does.
"""

from holdfast.testing.manual_time import ManualTime

__all__ = ["ManualTime"]
