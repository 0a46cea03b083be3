"""Run the ``ldai`` command as ``python -m ldai_integrations``."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
