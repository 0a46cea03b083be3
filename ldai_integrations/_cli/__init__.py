"""The commands of ``ldai``, one module each; every module adds its own arguments and runs them."""
