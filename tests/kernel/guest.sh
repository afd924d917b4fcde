#!/bin/sh
# Runs inside the virtual machine: gives the kernel what the tests need, then runs them.
# $1 is the one folder that the machine outside sees written; the rest are pytest's arguments.
set -eu
out=$1
shift
modprobe -a acpi-cpufreq cpufreq_userspace cpufreq_powersave cpufreq_ondemand cpufreq_conservative msr
modprobe -a sch_netem sch_htb sch_ingress cls_u32 cls_flower act_mirred act_gact ifb veth
ip link set lo up
# The host's own control groups are not seen here; version 2 is the only tree.
grep -q ' /sys/fs/cgroup ' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup
export SLICEBED_KERNEL_VM=1 HOME=/root PYTHONDONTWRITEBYTECODE=1
# Only the plugins in use: every import counts under software emulation.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
.venv/bin/python -m pytest -p pytest_timeout -p no:cacheprovider --durations=8 --junitxml="$out/junit.xml" "$@" \
    > "$out/pytest.log" 2>&1
