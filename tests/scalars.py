"""All characters but surrogates, for texts that Hypothesis generates."""

from hypothesis import strategies as st

SCALARS = st.characters(exclude_categories=("Cs",))
"""As the default has them, which takes seconds to list them."""
