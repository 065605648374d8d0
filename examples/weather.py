"""Four years of Seattle's weather: ingest, clean month by month, summarise, write a result file.

    python examples/weather.py --output weather-output

One month's source is unreliable: it fails at the first attempt and is tried again. The summary of a year is cached by
its inputs, so a second run does not compute it again. Killed at any moment, the run goes on where it stopped:
`python -m playhead.engine RUN`.
"""

from __future__ import annotations

import argparse
import calendar
import csv
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import TypedDict

from playhead import flow, task, unmapped
from playhead.runtime import task_run
from playhead.task_runners import ThreadPoolTaskRunner
from playhead.tasks import task_input_hash

DATA = Path(__file__).with_name("seattle_weather.csv")
UNRELIABLE_MONTH = "2013-07"
MONTHS_AT_ONCE = 4


class Day(TypedDict):
    """A day's weather, in mm, °C and m/s."""

    date: str
    precipitation: float
    temp_max: float
    temp_min: float
    wind: float
    weather: str


class Summary(TypedDict):
    """A month or a year: the mean of the daily mean temperatures, the sum of the precipitation."""

    period: str
    days: int
    mean_temp: float
    precipitation: float
    weather: dict[str, int]


@flow(task_runner=ThreadPoolTaskRunner(max_workers=MONTHS_AT_ONCE))
def seattle_weather(output: Path, source: Path = DATA, source_latency_s: float = 0.0) -> int:
    """Write `weather.json` into `output`; answer how many days it sums up.

    `source_latency_s` is how long the source of each month takes to answer.
    """
    months = ingest(source)
    days = clean.map(list(months), list(months.values()), unmapped(output), unmapped(source_latency_s))
    summaries = summarise.map(list(months), days)
    years = [
        summarise_year.submit(
            year, [summary for month, summary in zip(months, summaries, strict=True) if month[:4] == year]
        )
        for year in sorted({month[:4] for month in months})
    ]
    days_summed: int = write_result(output, summaries, years)
    return days_summed


@task
def ingest(source: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of the file as they are, by month: "2012-01", "2012-02" and so on."""
    months: dict[str, list[dict[str, str]]] = {}
    with source.open(newline="") as file:
        for row in csv.DictReader(file):
            months.setdefault(row["date"][:7].replace("/", "-"), []).append(row)
    return months


@task(retries=2, retry_delay_seconds=0.1, task_run_name="clean {month}")
def clean(month: str, rows: list[dict[str, str]], output: Path, latency_s: float) -> list[Day]:
    """Numbers as numbers, dates in ISO form, and no day missing. Raises ValueError when a month can not be right."""
    note_execution(output, month)
    time.sleep(latency_s)
    if month == UNRELIABLE_MONTH and task_run.run_count == 1:
        raise OSError(f"the source of {month} did not answer")
    days = [cleaned(row) for row in rows]
    year, number = map(int, month.split("-"))
    if [day["date"] for day in days] != [f"{month}-{n:02}" for n in range(1, calendar.monthrange(year, number)[1] + 1)]:
        raise ValueError(f"{month} is not complete")
    return days


@task(task_run_name="summarise {period}")
def summarise(period: str, days: list[Day]) -> Summary:
    """One month in numbers."""
    return Summary(
        period=period,
        days=len(days),
        mean_temp=sum(day["temp_max"] + day["temp_min"] for day in days) / 2 / len(days),
        precipitation=sum(day["precipitation"] for day in days),
        weather=dict(Counter(day["weather"] for day in days)),
    )


@task(cache_key_fn=task_input_hash, task_run_name="summarise {year}")
def summarise_year(year: str, months: list[Summary]) -> Summary:
    """One year from its months; computed once for the same months."""
    days = sum(month["days"] for month in months)
    weather: Counter[str] = Counter()
    for month in months:
        weather.update(month["weather"])
    return Summary(
        period=year,
        days=days,
        mean_temp=sum(month["mean_temp"] * month["days"] for month in months) / days,
        precipitation=sum(month["precipitation"] for month in months),
        weather=dict(weather),
    )


@task
def write_result(output: Path, months: list[Summary], years: list[Summary]) -> int:
    """Put everything into `weather.json`, whole or not at all; answer the number of days."""
    unfinished = output / "weather.json.part"
    unfinished.write_text(json.dumps({"years": years, "months": months}, indent=1) + "\n")
    unfinished.replace(output / "weather.json")
    return sum(year["days"] for year in years)


def cleaned(row: dict[str, str]) -> Day:
    """One row. Raises ValueError for what can not have been measured."""
    day = Day(
        date=row["date"].replace("/", "-"),
        precipitation=float(row["precipitation"]),
        temp_max=float(row["temp_max"]),
        temp_min=float(row["temp_min"]),
        wind=float(row["wind"]),
        weather=row["weather"].strip().lower(),
    )
    if day["temp_min"] > day["temp_max"] or day["precipitation"] < 0 or day["wind"] < 0:
        raise ValueError(f"not a day's weather: {row}")
    return day


def note_execution(output: Path, month: str) -> None:
    """Leave a line for each time that a month's code really runs, which is what a resumed run must not repeat."""
    output.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(output / "executed.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{month}\n".encode())
    os.close(descriptor)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("weather-output"))
    parser.add_argument("--source-latency-s", type=float, default=0.0)
    arguments = parser.parse_args()
    print(seattle_weather(arguments.output, source_latency_s=arguments.source_latency_s), "days")
