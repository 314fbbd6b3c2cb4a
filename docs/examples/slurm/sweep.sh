#!/bin/sh
#SBATCH --job-name=dnnbench
#SBATCH --nodes=4
#SBATCH --exclusive
#SBATCH --time=04:00:00

# --exclusive: other jobs on a node would disturb the measurement, and without it a job may have
# one core of each node. Provisioning needs a package index; after the first job, nothing.
set -e
dnnbench provision --slurm
exec dnnbench run --slurm
