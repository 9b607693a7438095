"""A hook of MkDocs: the files outside docs/ that pages link to are pages of the site too, so that it can be read alone.

Pages link to files as they are in the repository, which works on a code host. Here Markdown files become pages, source
files become pages with their code, folders become lists of files, and links between all of them are changed to match.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
"""The path of a relative link."""
ALWAYS = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")


def on_config(config: MkDocsConfig) -> None:
    """Put pages that the navigation does not name under "More"."""
    named = re.findall(r"[\w-]+\.(?:md|ipynb)", str(config.nav))
    if more := [page.name for page in sorted(Path(config.docs_dir).glob("*.md")) if page.name not in named]:
        config.nav = [*(config.nav or []), {"More": more}]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add every file outside docs/ that a page links to, directly or through others."""
    todo = [*ALWAYS, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set[str]()
    while todo:
        if (path := todo.pop()) in seen:
            continue
        seen.add(path)
        if not path.startswith("docs/"):
            level = InclusionLevel.INCLUDED if path.endswith(".md") else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, place(path), content=_content(path), inclusion=level))
        if path.endswith(".md"):
            todo += [target for target in _linked(path) if not target.startswith("docs/") and (ROOT / target).exists()]
        if (ROOT / path).is_dir():
            todo += [f"{path}/{file.name}" for file in _listed(path)]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change the links of a page from paths in the repository to paths in the site."""
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation"]  # it would have one line
    paths = [path for path in (page.file.src_uri, f"docs/{page.file.src_uri}") if (ROOT / path).is_file()]
    path = "README.md" if page.file.src_uri == "index.md" else paths[0] if paths else None
    if path is None:
        return markdown  # a page with code
    here = posixpath.dirname(page.file.src_uri)
    return LINK.sub(lambda found: posixpath.relpath(place(_resolved(path, found[1])), here or "."), markdown)


def place(path: str) -> str:
    """Where a file of the repository is in the site."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/") or path.endswith(".md"):
        return path.removeprefix("docs/")
    return f"source/{path}.md"


def _linked(path: str) -> Iterator[str]:
    return (_resolved(path, link) for link in LINK.findall((ROOT / path).read_text()))


def _resolved(path: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _listed(folder: str) -> list[Path]:
    return sorted((ROOT / folder).glob("*.py"))


def _content(path: str) -> str:
    """The text of the page of a file or folder."""
    file = ROOT / path
    if path.endswith(".md"):
        return file.read_text()
    head = f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n"
    if file.is_dir():
        return head + "".join(f"- [{one.name}]({file.name}/{one.name}.md)\n" for one in _listed(path))
    return f"{head}``````{file.suffix[1:] or 'text'}\n{file.read_text()}\n``````\n"
