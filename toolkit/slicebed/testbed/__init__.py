"""What is on the hosts: image, wheels, playbooks, inventory; everything through Ansible."""
