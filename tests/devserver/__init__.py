"""Promises of the dev server, kept with real LaunchDarkly clients over real HTTP."""
