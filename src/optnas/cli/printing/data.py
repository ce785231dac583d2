"""What a data set is, in words."""

from __future__ import annotations

from collections import Counter

from optnas.base.escapes import listed
from optnas.cli.printing.text import aligned, plural, say
from optnas.data.check import GROUPS, Report
from optnas.data.sets.layouts import PARTS

GROUPS_SHOWN = 3
SHOWN = 20  # classes, sizes and refused images that are listed, twice the number of sizes


def print_report(report: Report) -> None:
    """What a data set is, in words."""
    say(f"{report.name}: {report.note}")
    names = report.class_names
    if len(names) <= SHOWN:
        heads = ["", "<images", *(f"<{name}" for name in names)]
        rows = [
            [PARTS[part], *(f"{n:,}" for n in (sum(counts), *counts))]
            for part, counts in report.counts.items()
        ]
        say("\n".join(aligned(heads, rows)))
    else:
        for part, counts in report.counts.items():
            least, most = min(counts), max(counts)
            say(
                f"{PARTS[part]}: {sum(counts):,} images of {len(names)} classes, {least:,} "
                f"({names[counts.index(least)]}) to {most:,} ({names[counts.index(most)]}) in each"
            )
    say(f"guessing the largest class is right for {report.largest:.1f} % of the training images")
    say(f"sizes: {_counted(report.sizes)}; a network sees {report.resolution}x{report.resolution}")
    say(f"colours: {_counted(report.modes)}")
    twice = report.duplicates
    within = [f"{n:,} within {PARTS[p]}" for p in report.counts if (n := twice[f"within_{p}"])]
    across = [f"{twice['across']:,} test images are training images too"] if twice["across"] else []
    say(f"the same pixel for pixel: {', '.join(within + across) or 'none'}")
    for group in report.equal[:GROUPS_SHOWN]:
        say(f"  {listed([name for part in group.values() for name in part[:4]], 8)}")
    if len(report.equal) > GROUPS_SHOWN:
        all_of = "all" if len(report.equal) <= GROUPS else f"the first {GROUPS}"
        say(f"  and {len(report.equal) - GROUPS_SHOWN:,} more, {all_of} of them with --json")
    say(f"refused: {plural(len(report.refused), 'image') if report.refused else 'none'}")
    for each in report.refused[:SHOWN]:
        say(f"  {each['path']}: {each['reason']}")
    if len(report.refused) > SHOWN:
        say(f"  and {len(report.refused) - SHOWN:,} more, all of them with --json")
    for told in report.remarks:
        say(f"remark: {told}")


def _counted(found: Counter[str]) -> str:
    listed = [f"{name} ({count:,})" for name, count in found.most_common(SHOWN // 2)]
    more = [f"{len(found) - len(listed)} more"] if len(found) > len(listed) else []
    return ", ".join(listed + more)
