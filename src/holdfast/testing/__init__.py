"""For those who test what they build with Holdfast: time moved by hand, and suites for third-party parts.

`holdfast.testing.store_suite` and `holdfast.testing.simulated` need pytest; nothing else here does.
"""

from holdfast.testing.manual_time import ManualTime

__all__ = ["ManualTime"]
