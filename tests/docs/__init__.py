"""Tests of the pages in docs/: their code runs, and their statements agree with the code."""
