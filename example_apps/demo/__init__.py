"""Run the example apps as real processes, send them real traffic, and check every figure that is reported.

``python -m example_apps.demo`` needs no account and no key. With ``LAUNCHDARKLY_SDK_KEY`` and ``OPENAI_API_KEY`` set,
both of them, the same apps and the same traffic go to LaunchDarkly and OpenAI.
"""
