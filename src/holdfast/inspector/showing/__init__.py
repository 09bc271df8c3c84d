"""Reports as what people and programs read: text, JSON, SARIF, JUnit XML, a page.

Each module owns one form. None knows how a report was come by. What a server sent is hostile until it is escaped for its form: no
note may move a terminal's cursor, add an element to a page, or break a document.
"""

from holdfast.inspector.showing.forms import FORMS, Form, Shown, render

__all__ = ["FORMS", "Form", "Shown", "render"]
