"""Counts of tokens, as engines and logs write them."""


def token_count(count: object) -> int | None:
    """A count of tokens; None where it is no whole number.

    Some engines write 12.0, which JSON does not tell from 12.
    """
    if type(count) is int:
        return count
    return int(count) if isinstance(count, float) and count.is_integer() else None
