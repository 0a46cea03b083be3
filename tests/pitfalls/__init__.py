"""What users of other libraries ran into. Each is a promise of this one."""
