"""Text and tree: the grammar, parser and printer of `.cell` files, and how errors are shown.

What equations mean begins in dsl/system.
"""

import dsl.text.explanations  # noqa: F401  (registers the pages on E1xx)
