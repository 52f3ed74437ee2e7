#!/bin/sh
# Stands for AppArmor's parser, which the Pi does not have: Docker uses AppArmor only where it finds one.
# It calls it only if docker-default is not loaded, and the Pi loads that before this container starts.
echo "the Pi has no parser, and its own start has not loaded docker-default: see its console" >&2
exit 1
