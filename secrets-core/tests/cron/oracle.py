#!/usr/bin/env python3
"""Writes oracle.tsv: what croniter (https://pypi.org/project/croniter/, 7.0.0) says about patterns, zones and moments.

    python3 -m venv v && v/bin/pip install croniter==7.0.0 tzdata==2026.6 && v/bin/python oracle.py > oracle.tsv

Columns: the pattern, the time zone, a moment, and the five occurrences after it, all in UTC.

Left out, since the two are different on purpose:

- Where clocks are set back, croniter runs a pattern with one time a day twice; Keywheel runs it once, at the first of the two.
- Where clocks are set ahead, croniter moves times that do not exist to the end of the gap, for every pattern; Keywheel does so for a pattern with one
  time a day, and passes over those of the others, which come again anyway.
"""

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from random import Random
from zoneinfo import ZoneInfo

from croniter import croniter

COUNT = 5
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago"]

# As Keywheel writes it, and as croniter does where that is another way.
PATTERNS = [
    ("* * * * *", None),
    ("*/7 * * * *", None),
    ("0 * * * *", None),
    ("15,45 * * * *", None),
    ("5-50/15 8-18 * * *", None),
    ("0 0 * * *", None),
    ("30 2 * * *", None),
    ("0 3 * * 0", None),
    ("0 3 * * 7", None),
    ("0 3 * * SUN", None),
    ("0 3 * * mon-fri", None),
    ("0 9,17 * * 1-5", None),
    ("0 3 * * 1,3,5", None),
    ("0 3 1 * *", None),
    ("0 3 31 * *", None),
    ("0 3 30 2,4 *", None),
    ("0 3 1,15 * *", None),
    ("0 3 */10 * *", None),
    ("0 3 1 1 *", None),
    ("0 3 1 JAN,JUL *", None),
    ("0 3 1 jan-mar *", None),
    ("0 3 1 */3 *", None),
    ("0 3 29 2 *", None),
    ("0 3 13 * 5", None),
    ("0 3 1-7 * 6", None),
    ("30 4 1,15 * 5", None),
    ("0 3 31 12 0", None),
    ("0 3 L * *", None),
    ("30 23 L 2 *", None),
    ("0 3 * * 5L", "0 3 * * L5"),
    ("0 3 * * MON#L", "0 3 * * L1"),
    ("0 3 * * 2#1", None),
    ("0 3 * * 5#5", None),
    ("0 3 * * WED#3", None),
    ("0 3 * * 1#1,5#3", None),
    ("0 3 */2 * 1", None),
    ("0 3 15W * *", None),
    ("@daily", None),
    ("@weekly", None),
    ("15 30 4 * * *", None),
    ("*/20 * * * * *", None),
    ("10,40 0 */6 * * *", None),
    ("0 30 2 1 * *", None),
    ("59 59 23 31 12 *", None),
]


@lru_cache(maxsize=None)
def transitions(zone, year):
    """Returns the moments of the year at which the zone's clocks are set, each with how far."""
    at, found = datetime(year, 1, 1, tzinfo=timezone.utc), []
    while at.year == year:
        then = at + timedelta(minutes=30)
        step = then.astimezone(zone).utcoffset() - at.astimezone(zone).utcoffset()
        if step:
            found.append((then, step))
        at = then
    return found


def has_one_time(pattern):
    """Tells whether a pattern has one time a day."""
    fields = pattern.split()
    return all(field.isdigit() for field in fields[: len(fields) - 3])


def occurrences(written, start, zone):
    """Returns what croniter says."""
    seconds = len(written.split()) == 6
    found = croniter(written, start.astimezone(zone), second_at_beginning=seconds, max_years_between_matches=50)
    return [found.get_next(datetime).astimezone(timezone.utc) for _ in range(COUNT)]


def differs_on_purpose(pattern, start, found, zone):
    """Tells whether a clock is set on the way in a manner that the two take differently."""
    end = found[-1] + timedelta(hours=4)
    on_the_way = [
        (at, step)
        for year in range(start.year, end.year + 1)
        for at, step in transitions(zone, year)
        if start - timedelta(hours=4) <= at <= end
    ]
    for at, step in on_the_way:
        if step < timedelta(0) and has_one_time(pattern):
            # One of its times may exist twice.
            if any(abs(moment - at) <= -step for moment in found):
                return True
        if step > timedelta(0) and not has_one_time(pattern):
            # One of its times may be moved to the end of the gap.
            moved = [moment for moment in found if at <= moment < at + step]
            if not all(matches_wall(pattern, moment, zone) for moment in moved):
                return True
    return False


def matches_wall(pattern, at, zone):
    """Tells whether the clock shows a time of the pattern's, by a pattern that is the same in a zone without such changes."""
    wall = at.astimezone(zone).replace(tzinfo=timezone.utc)
    written = dict(PATTERNS)[pattern] or pattern
    seconds = len(written.split()) == 6
    return croniter.match(written, wall, second_at_beginning=seconds)


def starts(name, zone, random):
    """Returns moments to begin at: any, before the end of February, and around the changes of clocks."""
    begin = datetime(2024, 1, 1, tzinfo=timezone.utc)
    yield begin + timedelta(seconds=random.randrange(6 * 365 * 86400))
    yield datetime(random.choice([2027, 2028]), 2, 26, random.randrange(24), tzinfo=timezone.utc)
    for at, _ in transitions(zone, 2026):
        yield at - timedelta(minutes=random.randrange(1, 36 * 60))


def main():
    random = Random(20261129)
    for pattern, other in PATTERNS:
        for name in ZONES:
            zone = ZoneInfo(name)
            for start in starts(name, zone, random):
                found = occurrences(other or pattern, start, zone)
                if differs_on_purpose(pattern, start, found, zone):
                    continue
                moments = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in [start, *found]]
                print(pattern, name, moments[0], " ".join(moments[1:]), sep="\t")


main()
