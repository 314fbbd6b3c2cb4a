"""The convergence experiment: final error of every protocol, over learning rates and nodes."""
