"""How fast Elman is, beside others, in one run. It imports elman; nothing imports it.

``python -m benchmarks.cells --json docs/speed.json`` measures; ``python -m benchmarks.report`` writes
``docs/speed.md`` and its figure. The rivals: ``pip install -e '.[benchmarks]'``.
"""
