"""More workers and machines than one, and what stands between them and LaunchDarkly."""
