"""Scripts behind the Makefile. None of this is installed with the product."""
