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
    """Change README.md and setup.cfg in a folder."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    # ``[flask]: docs/flask.md``; pictures need the file itself instead of its page.
    text = re.sub(r"^(\[[^\]]+\]: )(?!https?://|#)(\S+\.png)$", rf"\1{address}/raw/{tag}/\2", text, flags=re.M)
    text = re.sub(r"^(\[[^\]]+\]: )(?!https?://|#)(\S+)$", rf"\1{address}/blob/{tag}/\2", text, flags=re.M)
    text = re.sub(r"^cd (\S+)  # a clone.*$", rf"git clone {address} \1 && cd \1", text, count=1, flags=re.M)
    readme.write_text(text, encoding="utf-8")
    config = folder / "setup.cfg"
    urls = PROJECT_URLS.format(address=address, tag=tag)
    text = config.read_text(encoding="utf-8").replace("keywords = ", f"{urls}keywords = ", 1)
    config.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_addresses(Path(), sys.argv[1].rstrip("/"), sys.argv[2])
