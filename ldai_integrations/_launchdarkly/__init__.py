"""LaunchDarkly: the client object of the library, AI Configs, and the tracker of a run."""
