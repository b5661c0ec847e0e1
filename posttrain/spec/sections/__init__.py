"""The sections of a spec, one file each. `posttrain.spec` exports them."""
