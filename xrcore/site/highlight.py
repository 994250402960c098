"""Source code with classes that the stylesheet colours."""

from __future__ import annotations

from html import escape

from pygments import highlight as colour
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

_FORMATTER = HtmlFormatter(nowrap=True)


def highlight(code: str, language: str) -> str:
    """A <pre>; a language that nobody knows stays plain."""
    try:
        html = colour(code, get_lexer_by_name(language, stripnl=False), _FORMATTER)
    except ClassNotFound:
        html = escape(code)
    return f'<pre class="code"><code>{html.rstrip()}</code></pre>\n'
