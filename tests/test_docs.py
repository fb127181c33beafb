"""The documentation: short README, links that lead somewhere, a strict build, shipped names."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

from paths import ROOT

DOCS = ROOT / "docs"
PACKAGES = ("server", "router", "models", "loadtest")


def _tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.splitlines()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_readme_links_to_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    relative = [link for link in links if "://" not in link]
    assert relative
    assert [link for link in relative if not (ROOT / link).is_file()] == []


NAMED_FILE = re.compile(
    r"(?<![\w/.*{<-])(?:docker|docs|examples|findings|loadtest|models|router|server|tests)"
    r"/[\w/.-]*\w\.(?:css|html|jinja|js|json|jsonl|md|mjs|py|sh|toml|yaml|yml)\b"
)
MADE_BY_COMMANDS = "docs/_build/"


def test_a_file_that_is_named_anywhere_exists() -> None:
    named = {
        name
        for file in _tracked("*.md", "*.py", "*.toml", "*.yaml", "*.yml", "Makefile")
        for name in NAMED_FILE.findall((ROOT / file).read_text())
        if not name.startswith(MADE_BY_COMMANDS)
    }
    assert len(named) > 100
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_the_table_of_cases_names_tests_that_exist() -> None:
    rows = (ROOT / "tests" / "CASES.md").read_text().splitlines()
    rows = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows if row.startswith("|")][2:]
    assert len(rows) > 80
    assert [row for row in rows if len(row) != 5] == []
    named = [
        (row[0], file, test)
        for row in rows
        for file, test in re.findall(r"(\w+\.py)(?:::([\w*]+))?", row[4])
    ]
    assert len(named) > 120
    tests = {
        file: re.findall(r"^ *(?:async )?def (test_\w+)", (ROOT / "tests" / file).read_text(), re.M)
        for _, file, _ in named
    }
    assert [name for name in named if not fnmatch.filter(tests[name[1]], name[2] or "*")] == []
    untested = [row[0] for row in rows if ".py" not in row[4] and "answer_pairs" not in row[4]]
    assert untested == []


def test_the_readme_links_to_every_guide_and_reference_page() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = [*(DOCS / "guides").glob("*.md"), *(DOCS / "reference").glob("*.md")]
    assert [page for page in pages if f"({page.relative_to(ROOT)})" not in readme] == []


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q"]
    build = subprocess.run(
        [*words, "-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr


def test_the_architecture_page_names_every_folder_with_code() -> None:
    page = (DOCS / "architecture.md").read_text()
    listed = set(re.findall(r"^\| `([\w/]+/)` \|", page, re.MULTILINE))
    folders = {f"{Path(name).parent}/" for name in _tracked("*.py") if name.startswith(PACKAGES)}
    folders -= {"server/ledger/migrations/versions/"}
    assert folders <= listed
    assert [folder for folder in listed if not (ROOT / folder).is_dir()] == []


def test_the_load_test_guide_names_every_shipped_plan() -> None:
    guide = (DOCS / "guides" / "load-test.md").read_text()
    section = guide[: guide.index("## Plans")]
    plans = {file.name for file in (ROOT / "loadtest" / "plans").glob("*.toml")}
    assert set(re.findall(r"`(\w+\.toml)`", section)) == plans


def test_the_table_of_findings_names_every_script() -> None:
    table = (ROOT / "findings" / "README.md").read_text()
    scripts = sorted(file.name for file in (ROOT / "findings").glob("*.sh"))
    assert re.findall(r"^\| `(\w+\.sh)`", table, re.MULTILINE) == scripts
