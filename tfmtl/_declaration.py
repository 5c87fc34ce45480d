"""What features and tasks are: frozen dataclasses that a Keras config can hold."""

import dataclasses


class Declaration:
    """A dataclass that Keras can write into a saved model and read back."""

    def get_config(self) -> dict:
        """Returns every argument."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict) -> "Declaration":
        """Builds the declaration from `get_config`'s dict."""
        return cls(**config)
