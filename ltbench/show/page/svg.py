"""Figures as inline SVG: text stays text, colours follow the page, and methods have tooltips with their names."""

import io
import re
import xml.etree.ElementTree as ET

from matplotlib.figure import Figure

from ltbench.show.style import BASE, BEST, GREY, INK, LINE, SERIES, style

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
COLOURS = {INK: "currentColor", LINE: "var(--line)", GREY: "var(--grey)", BASE: "var(--base)"}
COLOURS |= {colour: f"var(--series-{i})" for i, colour in enumerate(SERIES)}
assert SERIES[0] == BEST
ET.register_namespace("", SVG)
ET.register_namespace("xlink", XLINK)


def inline(figure: Figure, name: str, title: str, description: str) -> str:
    """A figure as an ``<svg>`` element.

    Args:
        figure: what to draw.
        name: unique in the page; first part of all ids.
        title, description: texts for screen readers.
    """
    buffer = io.BytesIO()
    with style(**{"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ET.fromstring(buffer.getvalue())
    for unwanted in (f"{{{SVG}}}metadata", f"{{{SVG}}}defs[{{{SVG}}}style]"):
        root.remove(root.find(unwanted))  # type: ignore[arg-type]
    for element in list(root.iter()):
        _adapt(element, name)
    root.attrib.pop("height")
    root.attrib.pop("width")
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-desc"}
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        child = ET.Element(f"{{{SVG}}}{tag}", id=f"{name}-{tag}")
        child.text = text
        root.insert(place, child)
    return ET.tostring(root, encoding="unicode")


def _adapt(element: ET.Element, name: str) -> None:
    identity = element.get("id", "")
    if identity.startswith("method:"):
        tip = ET.Element(f"{{{SVG}}}title")
        tip.text = identity.removeprefix("method:")
        element.insert(0, tip)
        del element.attrib["id"]
    elif identity:
        element.set("id", f"{name}-{identity}")
    if (target := element.get(f"{{{XLINK}}}href")) is not None:
        element.set(f"{{{XLINK}}}href", f"#{name}-{target[1:]}")
    if (clip := element.get("clip-path")) is not None:
        element.set("clip-path", clip.replace("url(#", f"url(#{name}-"))
    if (path := element.get("d")) is not None:
        element.set("d", re.sub(r"\.\d+", lambda digits: digits[0][:3], path.replace("\n", "")))
    if (style := element.get("style")) is not None:
        style = re.sub(r"font-family:[^;]*;?", "", style)
        style = re.sub(r"(font: [\d.]+px)[^;]*", r"\1 inherit", style)
        element.set("style", re.sub(r"#[0-9a-f]{6}", lambda found: COLOURS.get(found[0], found[0]), style))
