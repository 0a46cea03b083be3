"""Tests of the dev server with real LaunchDarkly clients over HTTP."""
