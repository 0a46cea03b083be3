"""LaunchDarkly's newer AI SDK inside runs."""
