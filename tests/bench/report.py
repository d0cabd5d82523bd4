"""Figures for people and programs: a table, a JSON file, an SVG chart."""
import json
import math
import statistics
from xml.sax.saxutils import escape

from rows import METRICS


def summary(runs):
    """median, least and greatest of what was measured; None: nothing."""
    if not runs:
        return None
    return {"median": statistics.median(runs), "min": min(runs),
            "max": max(runs), "runs": runs}


def lines(results):
    """One dict for each metric of each row, with the ratio of medians."""
    for r in results:
        for metric in r["metrics"]:
            k = summary(r["metrics"][metric]["kernel"])
            s = summary(r["metrics"][metric]["stack"])
            unit, better = METRICS[metric]
            ratio = s["median"] / k["median"] if k and s else None
            yield {"row": r["row"], "text": r["text"], "metric": metric,
                   "unit": unit, "better": better, "kernel": k, "stack": s,
                   "ratio": ratio}


def short(v):
    if v >= 1000:
        return f"{v:,.0f}"
    return f"{v:.3g}" if v < 100 else f"{v:.0f}"


def spread(s):
    if not s:
        return "-"
    if len(s["runs"]) == 1:
        return short(s["median"])
    return f"{short(s['median'])} [{short(s['min'])} {short(s['max'])}]"


def table(out):
    """Ratios are libstack's figure by the kernel's; the mark says whether it
    is better (+) or worse (-) by more than 5 %."""
    text = [f"{'row':<16} {'unit':<16} {'kernel':>24} {'libstack':>24} "
            f"{'ratio':>7}"]
    for x in out:
        ratio, mark = "-", " "
        if x["ratio"] is not None:
            gain = x["ratio"] if x["better"] == "higher" else 1 / x["ratio"]
            mark = "+" if gain > 1.05 else "-" if gain < 0.95 else "="
            ratio = f"{x['ratio']:.2f}"
        unit = x["unit"] + (" " + x["metric"] if x["unit"] == "us" else "")
        if x["metric"] in ("state", "rss"):
            unit = "B/conn " + x["metric"]
        text.append(f"{x['row']:<16} {unit:<16} {spread(x['kernel']):>24} "
                    f"{spread(x['stack']):>24} {ratio:>7} {mark}")
    return "\n".join(text)


def write_json(path, meta, out):
    with open(path, "w") as f:
        json.dump({"meta": meta, "results": out}, f, indent=1)
        f.write("\n")


# ---- the chart: one bar a metric, to the right where libstack is better ------

ROW_H, LEFT, MID, SCALE, WIDTH = 18, 250, 520, 70, 900


def at(gain):
    """Place of a gain on the axis: powers of two are SCALE apart."""
    return MID + SCALE * max(-3.7, min(3.7, math.log2(gain)))


def bar(y, x):
    """The bar and, thin, the range that the extremes of the runs span."""
    def gain(s, k):
        r = s / k
        return r if x["better"] == "higher" else 1 / r
    k, s = x["kernel"], x["stack"]
    g = gain(s["median"], k["median"])
    low, high = sorted((gain(s["min"], k["median"]),
                        gain(s["max"], k["median"])))
    left, right = sorted((MID, at(g)))
    colour = "#2a7" if g >= 1 else "#c54"
    return (f'<rect x="{left:.1f}" y="{y + 3}" width="{right - left:.1f}" '
            f'height="{ROW_H - 7}" fill="{colour}"/>\n'
            f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" '
            f'y1="{y + ROW_H // 2 - 0.5}" y2="{y + ROW_H // 2 - 0.5}" '
            f'stroke="#222"/>\n'
            f'<text x="{WIDTH - 8}" y="{y + 13}" text-anchor="end">'
            f'{g:.2f}</text>\n')


def write_svg(path, meta, out):
    height = 62 + ROW_H * len(out)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
           f'height="{height}" font-family="sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           '<text x="10" y="18" font-size="14">libstack against the '
           f'kernel: times better, median of {meta["rounds"]}</text>']
    for power in range(-3, 4):
        x = at(2.0 ** power)
        label = f"{2 ** power}" if power >= 0 else f"1/{2 ** -power}"
        svg.append(f'<line x1="{x}" x2="{x}" y1="44" y2="{height - 14}" '
                   f'stroke="{"#222" if power == 0 else "#ddd"}"/>'
                   f'<text x="{x}" y="38" text-anchor="middle">{label}'
                   '</text>')
    for i, x in enumerate(out):
        y = 46 + ROW_H * i
        svg.append(f'<text x="{LEFT}" y="{y + 13}" text-anchor="end">'
                   f'{escape(x["row"])}, {escape(x["unit"])}'
                   f'{" " + x["metric"] if x["unit"] == "us" else ""}</text>')
        if x["ratio"]:
            svg.append(bar(y, x))
    svg.append("</svg>")
    with open(path, "w") as f:
        f.write("\n".join(svg) + "\n")
