"""What the `switchboard` command says when it cannot go on."""


class UserError(Exception):
    """A failure that the user can act on: its text is one clear line, shown without a stack trace."""
