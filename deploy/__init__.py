"""Set-up, the demo, and Ansible roles."""
