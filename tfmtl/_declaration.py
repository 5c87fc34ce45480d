"""What features and tasks are: frozen dataclasses that a Keras config can hold."""

import dataclasses

_SHOWN = 6  # values of a longer tuple, of which only the first are shown


class Declaration:
    """A dataclass that Keras can write into a saved model and read back."""

    def get_config(self) -> dict:
        """Returns every argument."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict) -> "Declaration":
        """Builds the declaration from `get_config`'s dict."""
        return cls(**config)

    def __repr__(self) -> str:
        """The call that declares it, without defaults and most of a vocabulary."""
        name, *others = dataclasses.fields(self)
        given = [repr(getattr(self, name.name))]
        for field in others:
            value = getattr(self, field.name)
            if not self._follows(field):
                given.append(f"{field.name}={_short(value)}")
        return f"{type(self).__name__}({', '.join(given)})"

    def _follows(self, field) -> bool:
        """Whether an argument is what the others make it if it is left out."""
        if field.default is dataclasses.MISSING:
            return False
        if getattr(self, field.name) == field.default:
            return True
        try:
            return dataclasses.replace(self, **{field.name: field.default}) == self
        except ValueError:  # it is needed
            return False


def _short(value) -> str:
    if not isinstance(value, tuple) or len(value) <= _SHOWN:
        return repr(value)
    first = [f"{v:.4g}" if isinstance(v, float) else _short(v) for v in value[:3]]
    return f"({', '.join(first)}, ... {len(value):,} values)"
