"""What ends a campaign before its cells, or between them."""


class CampaignError(Exception):
    """A campaign cannot be run, or go on; the message says why in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
