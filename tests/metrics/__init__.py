"""Reading metrics back."""
