"""Judge a model's visible answer against a gold answer.

The judges of outcomes and of load tests live in packages that do not import each other, so what
they share lives in the leaf package that both import. `verdict` says whether an answer is right;
`statement` reads which answer a response commits to, and `number`, `choice`, `phrase` and
`collection` compare it with gold answers of their kind.
"""
