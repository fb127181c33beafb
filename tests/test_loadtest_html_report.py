"""The HTML report: one self-contained page, with plots of what was measured."""

import base64
import re
import sys
from typing import Any
from xml.etree import ElementTree

import pytest
from paths import ROOT

from loadtest.html_report import html_report
from loadtest.plan import read_plan
from loadtest.plots import Plot, run_plots
from loadtest.record import Record
from loadtest.report import Report

PLAN = read_plan(ROOT / "loadtest" / "plans" / "efforts.toml")


def record(arm: str, problem_id: str, **fields: Any) -> Record:
    return Record(arm, problem_id, None, **{"effort": "low", "thinking_tokens": 10, **fields})


def images(page: str) -> list[ElementTree.Element]:
    encoded = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    return [ElementTree.fromstring(base64.b64decode(svg)) for svg in encoded]


def closed_loop_records() -> list[Record]:
    return [
        record(arm, str(i), latency=0.1 * i + 0.1, ttft=0.05, thinking_tokens=index * 30 + i)
        for index, arm in enumerate(("none", "low", "medium", "high", "auto"))
        for i in range(20)
    ]


def test_the_page_is_self_contained_with_a_plot_per_measured_field() -> None:
    page = html_report(Report.of(PLAN, closed_loop_records()))
    drawn = images(page)
    assert [root.tag.rpartition("}")[2] for root in drawn] == ["svg"] * 3
    for root in drawn:
        text = "".join(root.itertext())
        assert all(arm in text for arm in ("none", "low", "medium", "high", "auto"))
    assert re.findall(r'alt="([^"]+)"', page) == [
        "Share of requests by latency, s",
        "Share of requests by TTFT, s",
        "Share of requests by thinking tokens",
    ]
    without_images = re.sub(r'src="data:[^"]*"', "", page)
    assert not re.search(r"(src|href)=|https?://(?!127)", without_images)


def test_distributions_rise_from_left_to_right_to_all_requests() -> None:
    for plot in run_plots(PLAN, closed_loop_records()):
        assert list(plot.lines) == ["none", "low", "medium", "high", "auto"]
        for points in plot.lines.values():
            assert points == sorted(points)
            assert points[-1][1] == 1


def test_a_run_with_scheduled_times_has_plots_over_time() -> None:
    records = [
        record("auto", str(i), latency=0.1, ttft=0.05, scheduled_at=7 + i * 0.5) for i in range(90)
    ]
    page = html_report(Report.of(PLAN, records))
    assert "Latency over time, s" in page
    assert "<td>auto</td><td>100.0 [100.0, 100.0]</td>" in page


def test_a_run_without_answers_has_no_plots() -> None:
    failed = [record("none", "1", error="timeout", ended="error")]
    assert not images(html_report(Report.of(PLAN, failed)))


def test_without_matplotlib_the_page_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = html_report(Report.of(PLAN, closed_loop_records()))
    assert "pip install &#39;tops-server[plot]&#39;" in page.replace("'", "&#39;")
    assert "<td>auto</td>" in page
    assert not images(page)


def test_an_error_message_is_escaped() -> None:
    message = "first\n\n\n\nsecond\n\n \n\n<b>third"
    failed = record("none", "1", error="HTTP 500", message=message, ended="error")
    page = html_report(Report.of(PLAN, [failed]))
    assert "HTTP 500: first" in page
    assert "&lt;b&gt;third" in page


@pytest.mark.parametrize("n", [601, 1000])
def test_the_run_over_time_has_sixty_windows(n: int) -> None:
    records = [record("none", str(i), latency=0.1, scheduled_at=i * 0.1) for i in range(n)]
    (plot,) = (plot for plot in run_plots(PLAN, records) if "Requests per second" in plot.title)
    assert isinstance(plot, Plot)
    rates = [rate for _, rate in plot.lines["scheduled"]]
    assert len(rates) == 60
    assert max(rates) - min(rates) < 0.15 * max(rates)  # no window has the final request alone
