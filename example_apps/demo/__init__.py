"""Run the example apps as real processes, send requests to them, and check every reported figure.

``python -m example_apps.demo`` needs no account and no key. If both ``LAUNCHDARKLY_SDK_KEY`` and ``OPENAI_API_KEY`` are
set, the apps use LaunchDarkly and OpenAI. Ctrl-C stops all processes. The exit status is then 130 if figures are not
checked yet. With ``--serve``, Ctrl-C is the normal end: the exit status is 0 if every figure agrees.
"""
