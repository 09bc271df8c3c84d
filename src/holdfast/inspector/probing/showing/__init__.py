"""Reports of probes, as text, JSON, JUnit's XML and HTML. Each takes the reports of one or several servers, and gives one string."""

from holdfast.inspector.probing.showing.data import as_json
from holdfast.inspector.probing.showing.junit import as_junit
from holdfast.inspector.probing.showing.page import as_html
from holdfast.inspector.probing.showing.text import Line, side_by_side, summary, text_lines

__all__ = ["Line", "as_html", "as_json", "as_junit", "side_by_side", "summary", "text_lines"]
