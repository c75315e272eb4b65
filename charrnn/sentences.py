"""Parts of sentences for people."""


def counted(number: int, noun: str) -> str:
    """`1 model`, `2,000 models`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
