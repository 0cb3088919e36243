"""The one exception that is the user's to mend: printed as one line, without a traceback."""


class InputError(ValueError):
    """Something given to the program is wrong; the message says what, and what to do."""
