"""What the suite says of a backend, in one word."""

from gaugeblock.conformance import Effort, judge
from gaugeblock.conformance.backend.loading import BackendError


def found(
    backend: str,
    operation: str,
    dtype: str,
    level: str,
    seed: int,
    *,
    profile: str = "ci",
    first: bool = True,
    time_limit: float = 5.0,
) -> tuple[str, str]:
    """Return the verdict on an operation at a level, and what was wrong; ``refused`` if it does not load."""
    try:
        report = judge(
            backend,
            operations=(operation,),
            dtypes=(dtype,),
            effort=Effort(profile, seed, shrink=False),
            time_limit=time_limit,
            stop_at_first=first,
        )
    except BackendError as error:
        return "refused", str(error)
    entries = report.as_data()["operations"]
    if operation not in entries:
        return "unsupported", ""
    entry = entries[operation][dtype]
    messages = [
        f"{clause}: {outcome['failure']['message']}"
        for clause, outcome in entry["clauses"].items()
        if outcome["failure"]
    ]
    return entry["levels"][level], "\n".join(messages)
