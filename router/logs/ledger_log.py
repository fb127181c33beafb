"""The gateway's ledger: requests whose answers got feedback, at the effort that served them.

The ledger keeps no prompts. Its rows are named by `x-request-id`: requests of one id are one
problem, and a problems file given beside the ledger may have the prompts of those ids.
"""

from pathlib import Path

from sqlalchemy import URL, MetaData, RowMapping, Table, create_engine, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchTableError
from sqlalchemy.pool import NullPool

from router.effort import is_effort
from router.logs.row import OutcomeError, Row, Rows, Skipped

_NEEDED = ("id", "request_id", "model", "effort", "thinking_tokens", "answer_tokens", "choices")


def ledger_rows(source: str, skipped: Skipped) -> Rows:
    """The rows of a ledger, by database URL or SQLite file. Raises OutcomeError."""
    url = _url(source)
    name = url.render_as_string(hide_password=True)
    try:
        postgres = url.get_backend_name() == "postgresql"
        options = {"client_encoding": "utf8"} if postgres else {}  # else SQL_ASCII gives bytes
        with create_engine(url, poolclass=NullPool, **options).connect() as connection:
            requests = Table("requests", MetaData(), autoload_with=connection)
            missing = [column for column in (*_NEEDED, "score") if column not in requests.c]
            if missing:
                raise OutcomeError(f"{name} is no ledger: its requests have no {missing[0]}")
            judged = requests.c.score.is_not(None)
            total = select(func.count()).select_from(requests)
            skipped.reasons["requests of the ledger without feedback"] += int(
                connection.execute(total.where(~judged)).scalar_one()
            )
            kinds = [requests.c.kind] if "kind" in requests.c else []
            columns = (*(requests.c[column] for column in _NEEDED), requests.c.score, *kinds)
            query = select(*columns).where(judged).order_by(requests.c.id)
            for row in connection.execution_options(yield_per=1_000).execute(query).mappings():
                if not is_effort(row["effort"]):  # two attempts say nothing of either effort
                    skipped.reasons["requests of the ledger at a composite effort"] += 1
                    continue
                yield f"{name}: request {row['request_id']}", _outcome_row(name, row)
    except NoSuchTableError as error:
        raise OutcomeError(f"{name} is no ledger: it has no table {error}") from error
    except DBAPIError as error:
        raise OutcomeError(f"the ledger {name} cannot be read: {error.orig}") from error
    except ModuleNotFoundError as error:
        raise OutcomeError(
            f"the driver {error.name} of this ledger is not installed: "
            "pip install 'tops-server[postgres]'"
        ) from error


def _outcome_row(name: str, row: RowMapping) -> Row:
    """A request as a row of outcomes; its tokens are the mean of its choices."""
    thinking, answer = row["thinking_tokens"], row["answer_tokens"]
    choices = max(int(row["choices"] or 1), 1)
    spent = None if thinking is None and answer is None else (thinking or 0) + (answer or 0)
    return {
        "problem_id": str(row["request_id"]),
        "model": row["model"],
        "effort": row["effort"],
        "generation": f"{name}/{row['id']}",
        "score": row["score"],
        "tokens": None if spent is None else round(spent / choices),
        "thinking_tokens": None if thinking is None else round(thinking / choices),
        "kind": row.get("kind"),
    }


def _url(source: str) -> URL:
    """The database URL of a source; SQLite is opened for reading only.

    Raises OutcomeError: no URL of a kind that a ledger has, or a file that does not exist.
    """
    try:
        url = make_url(source) if "://" in source else make_url(f"sqlite:///{source}")
    except (ArgumentError, ValueError) as error:
        raise OutcomeError(f"{source.partition('://')[0]}://...: no database URL") from error
    kind = url.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise OutcomeError(
            f"{kind}://... is no ledger: use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
        )
    if kind == "postgresql":
        return url
    file = url.database
    if not file or not Path(file).is_file():
        raise OutcomeError(f"there is no ledger {file or source}")
    return make_url(f"sqlite:///file:{Path(file).absolute()}?mode=ro&uri=true")
