"""`make test-deploy`: the playbooks for real, over SSH, on booted machines. Not part of `make test`."""
