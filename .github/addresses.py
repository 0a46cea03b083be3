"""Write the address of the repository into README.md and setup.cfg, before a release is built.

``python .github/addresses.py https://github.com/owner/name v0.1.0``

In the repository, the links of README.md are relative, so that they work in every clone and fork. PyPI shows README.md
without the other files, so that a release needs whole addresses.
"""

import re
import sys
from pathlib import Path

PROJECT_URLS = """project_urls =
    Source = {address}
    Documentation = {address}/blob/{tag}/docs/index.md
    Changelog = {address}/blob/{tag}/CHANGELOG.md
    Issues = {address}/issues
"""


def write_addresses(folder: Path, address: str, tag: str) -> None:
    """Change README.md and setup.cfg in a folder.

    Raises:
        ValueError: If one of the addresses has no place any more, so that the release would lack it.
    """
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    # ``[flask]: docs/flask.md``; pictures need the file itself instead of its page.
    text = _replace(r"^(\[[^\]]+\]: )(?!https?://|#)(\S+\.png)$", rf"\1{address}/raw/{tag}/\2", text)
    text = _replace(r"^(\[[^\]]+\]: )(?!https?://|#)(\S+)$", rf"\1{address}/blob/{tag}/\2", text)
    text = _replace(r"^cd (\S+)  # a clone.*$", rf"git clone {address} \1 && cd \1", text)
    readme.write_text(text, encoding="utf-8")
    config = folder / "setup.cfg"
    urls = PROJECT_URLS.format(address=address, tag=tag)
    text = _replace(r"^keywords = ", f"{urls}keywords = ", config.read_text(encoding="utf-8"))
    config.write_text(text, encoding="utf-8")


def _replace(pattern: str, replacement: str, text: str) -> str:
    text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    if not count:
        raise ValueError(f"nothing matches {pattern}")
    return text


if __name__ == "__main__":
    write_addresses(Path(), sys.argv[1].rstrip("/"), sys.argv[2])
