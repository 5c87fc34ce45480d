"""Many models of one config on the same data: trained, chosen and compared."""
